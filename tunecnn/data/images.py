"""Data sets as arrays, and the part of them that a trial gets."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tunecnn.data.sheet import DataSheet
from tunecnn.models.designs import InputShape

Pixels = npt.NDArray[np.uint8]
"""Images of shape (n, height, width, channels), values 0..255."""
ALMOST_BLACK = 2
"""Brightest value, of 255, of images that a wrong scale has made black for a viewer."""
_LIKELY_WHITES = (255, 1023, 4095, 65535)
Labels = npt.NDArray[np.int64]
"""Class indices of shape (n,)."""


def likely_white(values: npt.NDArray[np.generic]) -> str:
    """Return the value that is probably white in images, by the values that they have."""
    brightest = float(values.max())
    if brightest <= 1:
        return "1.0"
    is_whole = bool(np.array_equal(values, np.rint(values)))
    whites = _LIKELY_WHITES if is_whole else ()
    return next((str(top) for top in whites if brightest <= top), f"{brightest:.6g}")


def useless_scale(pixels: Iterable[Pixels], scale: float | None) -> str:
    """Say how a wrong scale ruins the images; empty if it does not."""
    if scale is None or not (colour := only_colour(pixels)):
        return ""
    return f"with scale: {scale:g} all images are {colour}; say which value is white"


def only_colour(pixels: Iterable[Pixels]) -> str:
    """Return `white`, `black` or `almost black` if images have nothing else; empty if they do."""
    seen = [one for one in pixels if one.size]
    brightest = max((int(one.max()) for one in seen), default=255)
    darkest = min((int(one.min()) for one in seen), default=0)
    if brightest > ALMOST_BLACK and darkest < 255:
        return ""
    return "white" if darkest == 255 else "black" if not brightest else "almost black"


@dataclass(frozen=True)
class Images:
    """Some labelled images: `pixels` (n, height, width, channels) uint8, `labels` (n,) int64."""

    pixels: Pixels
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Labels) -> Images:
        """Return a copy of some of the images, in the order of their indices.

        The pixels are copied in blocks, so that mapped ones never lie in memory as a whole.
        """
        pixels = np.empty((len(indices), *self.pixels.shape[1:]), np.uint8)
        for block in blocks(pixels):
            pixels[block] = self.pixels[indices[block]]
            forget(self.pixels)
        return Images(pixels, self.labels[indices])


@dataclass(frozen=True)
class Reading:
    """How a data set was read from the files of a user, each of which is accounted for.

    Attributes:
        used: number of files that are images of the data set.
        left_out: number of files that are not, by reason.
        changed: number of images that were changed to be shown as a viewer shows them, by change.
        bad: files that could not be read and were left out on request, with the reason.
        files: name of each image: training, validation and test images, one after the other.
    """

    used: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    changed: Mapping[str, int] = field(default_factory=dict)
    bad: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Arrays:
    """A data set as it was published or found, in its original order.

    Attributes:
        train: training images, from which the validation images are taken if there are none.
        test: test images; empty if the data set has none of its own.
        classes: class names by label.
        validation: validation images of the data set's own; None if it has none.
        groups: group of each training image, shape (n,); images of one group are not divided
            between training, validation and test images. None for no groups.
        reading: how the files were read; None for a data set that is not read from files of the
            user.
        notes: sentences about what was inferred, or could not be verified.
    """

    train: Images
    test: Images
    classes: tuple[str, ...]
    validation: Images | None = None
    groups: Labels | None = None
    reading: Reading | None = None
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, Images]:
        """Training, validation and test images, those that exist, in this order."""
        own = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: images for name, images in own.items() if images is not None}

    def fingerprint(self) -> str:
        """Return a hash of all pixels, labels and class names: sixteen hexadecimal digits."""
        digest = hashlib.sha256("\0".join(self.classes).encode())
        parts = [self.train, self.test, *([self.validation] if self.validation else [])]
        for images in parts:
            _add_pixels(digest, images.pixels)
            digest.update(str(images.labels.shape).encode())
            digest.update(np.ascontiguousarray(images.labels).data)
        return digest.hexdigest()[:16]


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
        counts = _value_counts(train.pixels)
        for channel in range(train.pixels.shape[3]):
            count = counts[channel]
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
        splits: training and validation images, the only ones that trials use, by the seed of
            the split; one split, except in a confirmation.
        test: test images, the same in all splits, for the commands that may use them.
        fingerprint: hash of the whole data set, independent of the split.
        split_fingerprint: hash of the indices of the training and the validation images.
        sheet: what is known about the images of the first split before any training.
        fixed_split: why another seed gives no other validation images; empty if it does.
    """

    splits: Mapping[int, TrialData]
    test: Images
    fingerprint: str
    split_fingerprint: str
    sheet: DataSheet
    fixed_split: str = ""

    @property
    def trial_data(self) -> TrialData:
        """Training and validation images of the first split."""
        return next(iter(self.splits.values()))


def _value_counts(pixels: Pixels) -> Labels:
    """Count how often each value occurs in each channel: shape (channels, 256)."""
    from PIL import Image  # whose histograms take neither the time nor the memory of bincount

    *_, width, channels = pixels.shape
    counts = np.zeros((channels, 256), np.int64)
    for block in blocks(pixels):
        rows = np.ascontiguousarray(pixels[block]).reshape(-1, width, channels)
        if channels < 3:  # of two channels, Pillow before 12 counts the first one twice
            for channel in range(channels):
                counts[channel] += Image.fromarray(rows[..., channel]).histogram()
        else:
            counts += np.reshape(Image.fromarray(rows).histogram(), (channels, 256))
    return counts


def blocks(pixels: Pixels) -> Iterator[slice]:
    """Yield slices of some megabytes each that cover an array of images."""
    per_image = max(1, int(np.prod(pixels.shape[1:])))
    count = max(1, (1 << 22) // per_image)
    return (slice(start, start + count) for start in range(0, len(pixels), count))


def forget(pixels: Pixels) -> None:
    """Let the system reuse the memory of mapped pixels that have been read."""
    owner: object = pixels
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap):
        owner.madvise(mmap.MADV_DONTNEED)


def pixels_hash(pixels: Pixels) -> str:
    """Return a hash of images, read in blocks."""
    digest = hashlib.sha256()
    _add_pixels(digest, pixels)
    return digest.hexdigest()


def _add_pixels(digest: hashlib._Hash, pixels: Pixels) -> None:
    digest.update(str(pixels.shape).encode())
    for block in blocks(pixels):
        digest.update(np.ascontiguousarray(pixels[block]).data)
        forget(pixels)
