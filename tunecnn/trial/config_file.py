"""`TrialConfig` from a YAML file, and settings from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunecnn.documents import parse_document, read_document
from tunecnn.errors import InputError
from tunecnn.trial.config import Scalar, TrialConfig


def read_config(path: Path) -> TrialConfig:
    """Read a trial's config from YAML (or JSON): a flat mapping of settings to scalars.

    Raises:
        InputError: if the file cannot be read, or does not contain a valid config.
    """
    document = read_document(path)
    if document.mistakes:
        raise document.error(document.mistakes)
    if not isinstance(document.value, dict):
        raise InputError(f"{path}: a config is a mapping of settings to values")
    try:
        return TrialConfig.from_dict(document.value)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def parse_settings(texts: Sequence[str]) -> dict[str, Scalar]:
    """Parse settings such as `learning_rate=1e-3`, with values in YAML syntax.

    Raises:
        InputError: if a setting does not have the form name=value.
    """
    settings: dict[str, Scalar] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise InputError(f"--set {text}: write it as name=value")
        document = parse_document(value, f"--set {text}")
        if document.mistakes:
            raise document.error(document.mistakes)
        settings[name.strip()] = document.value
    return settings
