"""`SearchSpace`: the checked and typed values of a space file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError, ValidationInfo, model_validator

from tunecnn.documents import (
    Document,
    Mistake,
    SpaceError,
    parse_document,
    read_document,
    without,
)
from tunecnn.space.checks import (
    explain,
    may_follow,
    mistakes_of,
    rung_mistakes,
    warnings_of,
)
from tunecnn.space.schema import SpaceSchema

_MOST_EXPLAINED = 100  # an explanation looks for the nearest of many names


class SearchSpace(SpaceSchema):
    """A search space and its search strategy; `from_yaml` reads one from a file.

    Its keys are those of `SpaceSchema`; their consistency is checked on construction.

    Raises:
        SpaceError: if there are mistakes; it lists all that can be found at once.
    """

    @model_validator(mode="after")
    def _check_meaning(self, info: ValidationInfo) -> Self:
        self._folder = (info.context or {}).get("folder") or Path.cwd()
        mistakes = mistakes_of(self)
        if mistakes:
            raise SpaceError(mistakes)
        return self

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read and check a space; the networks' files are relative to its folder.

        Args:
            path: the space's file.

        Raises:
            SpaceError: if there are mistakes; it lists all of them, each with its line and key.
            InputError: if the file cannot be read, or is not YAML.
        """
        return cls._from_document(read_document(Path(path)), Path(path).parent)

    @classmethod
    def from_text(
        cls,
        text: str,
        source: str = "space",
        folder: Path | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> Self:
        """Read and check a space from YAML text; see `from_yaml`.

        Args:
            text: the space.
            source: what messages call it.
            folder: folder of the networks' files; None for the current one.
            changes: values that replace those of the text, by key, before any is checked.
        """
        return cls._from_document(parse_document(text, source).with_changes(changes or {}), folder)

    @classmethod
    def from_values(cls, values: Mapping[str, Any], folder: Path | None = None) -> Self:
        """Check the keys of a space that Python code makes.

        Args:
            values: values by key.
            folder: folder of the networks' files; None for the current one.

        Raises:
            SpaceError: if there are mistakes; it lists all that can be found at once.
        """
        space, mistakes = cls._try(dict(values), folder)
        if space is None:
            raise SpaceError(mistakes)
        return space

    @classmethod
    def _from_document(cls, document: Document, folder: Path | None) -> Self:
        if not isinstance(document.value, dict):
            what = "a list" if isinstance(document.value, list) else "a single value"
            raise document.error(
                [Mistake((), f"a space is a mapping of keys to values, not {what}")]
            )
        mistakes = list(document.mistakes)
        # A mistake in the YAML is listed once, and not again as an invalid value.
        value = without(document.value, [mistake.loc for mistake in mistakes if mistake.loc])
        space, found = cls._try(value, folder)
        if len(found) > _MOST_EXPLAINED:
            raise document.error([*mistakes, *found])
        whole = space
        bad = [mistake.loc for mistake in (*mistakes, *found)]
        if space is None and bad:
            # Check the rest as well, so that all mistakes are listed at once.
            whole, more = cls._try(without(value, [*bad, *(p[:2] for p in bad)]), folder)
            found += [one for one in more if not may_follow(one, bad)]
        # Of a quick try, with fewer epochs than in the file, it is no more than a warning.
        if whole is not None and "epochs" not in document.changed:
            found += [one for one in rung_mistakes(whole) if not may_follow(one, bad)]
        if mistakes or found or space is None:
            raise document.error([*mistakes, *found])
        return space

    @classmethod
    def _try(
        cls, values: dict[str, Any], folder: Path | None
    ) -> tuple[Self | None, list[Mistake]]:
        context = {"folder": folder.absolute() if folder else None}
        try:
            return cls.model_validate(values, context=context), []
        except SpaceError as error:
            return None, list(error.mistakes)
        except ValidationError as error:
            details = [
                one
                for one in error.errors(include_url=False)
                # A mapping among the start points is no word, and its own mistake is told.
                if one["loc"][0] != "start"
                or one["type"] != "literal_error"
                or not isinstance(one["input"], dict)
            ]
            explained = (explain(one, cls.model_fields) for one in details[:_MOST_EXPLAINED])
            found = list(dict.fromkeys(explained))
            rest = (Mistake(tuple(one["loc"]), one["msg"]) for one in details[_MOST_EXPLAINED:])
            return None, [*found, *rest]

    def override(self, **changes: object) -> Self:
        """Return a checked copy with some keys changed; None leaves a key unchanged."""
        given = {key: value for key, value in changes.items() if value is not None}
        space, mistakes = type(self)._try({**dict(self), **given}, self._folder)
        if space is None:
            raise SpaceError(mistakes)
        return space

    def warnings(self) -> list[str]:
        """Return warnings about settings that are allowed but probably unintended."""
        return warnings_of(self)
