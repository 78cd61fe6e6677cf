"""A sheet of a data set's images, drawn as a network gets them."""

from __future__ import annotations

from pathlib import Path

from tunecnn.data.images import Labels, Pixels, TrialData
from tunecnn.files import check_writable

_EXAMPLE = {"flip": True, "crop": 0.125}


def write_sheet(data: TrialData, path: Path) -> None:
    """Draw a few training images of each class, plain and with augmentation, into a PNG file.

    The augmentation is an example: a look at the sheet tells whether the classes survive it.

    Raises:
        InputError: if the file cannot be written.
    """
    import torch

    from tunecnn.models.randomness import random_state_of
    from tunecnn.summary.plots.images import sheet
    from tunecnn.trial.batches import Batcher, to_device
    from tunecnn.trial.config import TrialConfig

    check_writable(path, "--out")
    batcher = Batcher(TrialConfig(**_EXAMPLE), to_device(data, torch.device("cpu")))

    def augment(indices: Labels) -> Pixels:
        with random_state_of(0):
            changed: Pixels = batcher.augmented(torch.from_numpy(indices)).numpy()
        return changed

    words = ", ".join(f"{name}: {str(value).lower()}" for name, value in _EXAMPLE.items())
    sheet(data, augment, words).savefig(path, format="png", dpi=110)
