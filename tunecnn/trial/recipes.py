"""Recipes: named sets of training settings, from which a `TrialConfig` is made."""

from __future__ import annotations

from typing import Any

from tunecnn.data.registry import dataset_info
from tunecnn.errors import InputError, nearest
from tunecnn.models.architecture import is_published
from tunecnn.trial.config import Scalar, TrialConfig

RECIPES = ("published", "fast")


def recipe_settings(recipe: str, architecture: str, dataset: str) -> dict[str, Scalar]:
    """Return the settings in which a recipe differs from the defaults of `TrialConfig`.

    `published` is the published protocol: Keras's RMSprop at 1e-4, batches of 128, the published
    pixel scaling, no augmentation, and early stopping for the proposed network only. `fast` trains
    in few epochs; its augmentation and batch size depend on the data set. It uses Muon for the
    published networks, for which it was found, and AdamW for all others, which learn more safely
    with it (docs/results.md).

    Raises:
        InputError: for an unknown recipe or data set.
    """
    if recipe not in RECIPES:
        raise InputError(f"unknown recipe {recipe!r}; {nearest(recipe, RECIPES)}")
    info = dataset_info(dataset)
    settings: dict[str, Scalar] = {"validation": info.validation}
    if recipe == "published":
        settings |= {"pixels": info.published_pixels}
        if info.has_published_results:
            settings |= {"split": "published"}
        if architecture == "proposed":
            settings |= {"patience": 10}
        return settings
    rule: dict[str, Scalar] = {"optimizer": "adamw", "learning_rate": 2e-3}
    if is_published(architecture):
        rule = {"optimizer": "muon", "learning_rate": 4e-3, "momentum": 0.95}
    return settings | {
        "batch_size": info.batch,
        **rule,
        "weight_decay": 0.02,
        "schedule": "one_cycle",
        "warmup": 0.2,
        "label_smoothing": 0.1,
        "pixels": "standardized",
        "flip": info.flip,
        "crop": info.crop,
        "precision": "bf16",
    }


def make_config(recipe: str, architecture: str, dataset: str, **changes: Any) -> TrialConfig:
    """Make the config of a recipe; keyword arguments replace its settings.

    Raises:
        InputError: for an unknown recipe, data set, architecture or setting.
    """
    for what, given in (("architecture", architecture), ("dataset", dataset)):
        if not isinstance(given, str):
            raise InputError(
                f"{what} must be a name, not {type(given).__name__}; tunecnn.search takes "
                "classes and arrays"
            )
    settings: dict[str, Any] = dict(recipe_settings(recipe, architecture, dataset))
    return TrialConfig.from_dict(
        {"architecture": architecture, "dataset": dataset, **settings, **changes}
    )
