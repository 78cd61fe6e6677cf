"""Data sets as arrays, and the part of them that a trial gets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tunecnn.models.designs import InputShape

Pixels = npt.NDArray[np.uint8]
"""Images of shape (n, height, width, channels), values 0..255."""
Labels = npt.NDArray[np.int64]
"""Class indices of shape (n,)."""


@dataclass(frozen=True)
class Arrays:
    """A data set as published: training and test images in their original order."""

    train_pixels: Pixels
    train_labels: Labels
    test_pixels: Pixels
    test_labels: Labels
    classes: tuple[str, ...]

    def fingerprint(self) -> str:
        """Return a hash of all pixels, labels and class names: sixteen hexadecimal digits."""
        digest = hashlib.sha256("\0".join(self.classes).encode())
        for array in (self.train_pixels, self.train_labels, self.test_pixels, self.test_labels):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Images:
    """Some labelled images: `pixels` (n, height, width, channels) uint8, `labels` (n,) int64."""

    pixels: Pixels
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class TrialData:
    """The data of a trial: training and validation images, without the test images.

    `mean` and `deviation` are the mean and the standard deviation of each channel over the
    training images, in 0..255.
    """

    name: str
    classes: tuple[str, ...]
    train: Images
    validation: Images
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def measure(
        cls, name: str, classes: tuple[str, ...], train: Images, validation: Images
    ) -> TrialData:
        """Make trial data, with the mean and the deviation of the training images."""
        values = np.arange(256)
        means, deviations = [], []
        for channel in range(train.pixels.shape[3]):
            count = np.bincount(train.pixels[..., channel].ravel(), minlength=256)
            mean = float(np.average(values, weights=count))
            variance = float(np.average((values - mean) ** 2, weights=count))
            means.append(mean)
            deviations.append(max(variance, 1.0) ** 0.5)  # a channel may be constant
        return cls(name, classes, train, validation, tuple(means), tuple(deviations))

    @property
    def input_shape(self) -> InputShape:
        """Channels, height and width of one image."""
        _, height, width, channels = self.train.pixels.shape
        return channels, height, width


@dataclass(frozen=True)
class Dataset:
    """A data set divided for a run.

    Attributes:
        trial_data: training and validation images, the only ones that a search uses.
        test: test images, for the commands that may use them.
        fingerprint: hash of the whole data set, independent of the split.
        split_fingerprint: hash of the indices of the training and the validation images.
    """

    trial_data: TrialData
    test: Images
    fingerprint: str
    split_fingerprint: str
