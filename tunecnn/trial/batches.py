"""Images on the device, and the batches made from them: shuffled, shifted, mirrored, scaled.

The images stay uint8 and are copied to the device once; every step gathers its batch from them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tunecnn.data.images import Images, TrialData
from tunecnn.trial.config import TrialConfig, derive_seed

_EVALUATION_BATCH = 500
_EVALUATION_PIXELS = _EVALUATION_BATCH * 64 * 64


def evaluation_batch(batch_size: int, height: int, width: int) -> int:
    """Return how many images are evaluated at once: fewer of large ones, for their memory.

    Args:
        batch_size: number of images in a training step, which needs more memory.
        height: height of an image.
        width: width of an image.
    """
    return min(_EVALUATION_BATCH, max(batch_size, _EVALUATION_PIXELS // (height * width)))


def shift_in_pixels(share: float, size: int) -> int:
    """Return a shift by a share of the size of an image: one pixel at least, if it has another."""
    return min(max(1, round(share * size)), size - 1)


def reflected(index: Tensor, size: int) -> Tensor:
    """Reflect indices that are beyond the edges of an image of a size, by less than the size."""
    return (size - 1) - (size - 1 - index.abs()).abs()


@dataclass(frozen=True)
class DeviceImages:
    """Images on a device: `pixels` (n, height, width, channels) uint8, `labels` (n,) int64."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Targets:
    """The classes of the images of a batch, of which some may be parts of two images.

    Attributes:
        labels: class of each image, shape (b,) int64.
        others: class of the image of which a part was pasted, shape (b,); None if none was.
        pasted: share of that part, shape (b,) float32; None if none was pasted.
    """

    labels: Tensor
    others: Tensor | None = None
    pasted: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def weighted(self, values: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the values for the classes (b,), by the parts of each image; shape (b,)."""
        if self.others is None or self.pasted is None:
            return values(self.labels)
        return torch.lerp(values(self.labels), values(self.others), self.pasted)


@dataclass(frozen=True)
class DeviceData:
    """`TrialData` on a device; successive trainings can share it."""

    source: TrialData
    train: DeviceImages
    validation: DeviceImages
    device: torch.device


def to_device(data: TrialData, device: torch.device) -> DeviceData:
    """Copy a trial's images to a device; on the CPU nothing is copied."""
    return DeviceData(
        data,
        images_to_device(data.train, device),
        images_to_device(data.validation, device),
        device,
    )


class DeviceSplits:
    """The images of a run on a device, where one split of the data lies at a time.

    Args:
        read: returns the data of a split, by the seed of its split.
        device: device on which trials are trained.
    """

    def __init__(self, read: Callable[[int], TrialData], device: torch.device) -> None:
        self._read = read
        self._device = device
        self._seed: int | None = None
        self._data: DeviceData | None = None

    def of(self, config: TrialConfig) -> DeviceData:
        """Return the data of a trial; those of an earlier trial are copied only once."""
        if self._data is None or config.split_seed != self._seed:
            self._data = None  # two splits may not fit
            self._data = to_device(self._read(config.split_seed), self._device)
            self._seed = config.split_seed
        return self._data


def images_to_device(images: Images, device: torch.device) -> DeviceImages:
    """Copy images to a device; on the CPU nothing is copied."""
    with warnings.catch_warnings():
        # Ray's shared memory is read-only; nothing here writes to the images.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        pixels, labels = torch.from_numpy(images.pixels), torch.from_numpy(images.labels)
    return DeviceImages(pixels.to(device), labels.to(device))


class Scaling(nn.Module):
    """The pixels of images as the values that a network gets.

    Args:
        config: config with the pixel scaling.
        mean: mean of each channel over the training images, in 0..255.
        deviation: standard deviation of each channel, in 0..255.

    Attributes:
        channels_last: whether the values are in the memory layout `channels_last`, else they are
            contiguous.
        in_bf16: whether the values are bfloat16, made in one pass, else float32. They are what
            autocast makes of the float32 values for a convolution.

    Shapes: input (n, height, width, C) uint8; output (n, C, height, width).
    """

    _scale: Tensor
    _shift: Tensor | None

    def __init__(
        self, config: TrialConfig, mean: Sequence[float], deviation: Sequence[float]
    ) -> None:
        super().__init__()
        scale, shift = torch.ones(len(mean)), None
        if config.pixels == "unit":
            scale = scale / 255
        elif config.pixels == "standardized":
            scale = 1 / torch.tensor(deviation)
            shift = -torch.tensor(mean) * scale
        self._is_raw = config.pixels == "raw"
        self.channels_last = True
        self.in_bf16 = False
        self.register_buffer("_scale", scale, persistent=False)
        self.register_buffer("_shift", shift, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Scale the pixels of some images."""
        values = self._bf16_of(pixels) if self.in_bf16 else self._float32_of(pixels)
        values = values.permute(0, 3, 1, 2)
        if self.channels_last:
            return values
        # A copy: `contiguous` would change nothing in images of one channel.
        return values.clone(memory_format=torch.contiguous_format)

    def _float32_of(self, pixels: Tensor) -> Tensor:
        values = pixels.to(torch.float32)
        if not self._is_raw:
            values.mul_(self._scale)
        if self._shift is not None:
            values.add_(self._shift)
        return values

    def _bf16_of(self, pixels: Tensor) -> Tensor:
        if self._is_raw:
            return pixels.to(torch.bfloat16)
        # Computed in float32 and rounded as it is written: nothing in float32 is stored.
        values = torch.empty(pixels.shape, dtype=torch.bfloat16, device=pixels.device)
        if self._shift is None:
            return torch.mul(pixels, self._scale, out=values)
        return torch.addcmul(self._shift, pixels, self._scale, out=values)


class Batcher:
    """Makes the batches of one training.

    Args:
        config: config with the pixel scaling, the augmentation and the batch size.
        data: images on the device on which the batches are made.

    Attributes:
        scaling: scaling of the pixels.
        joins_last_image: whether a last batch of one image is joined to the one before it, as
            batch normalization needs; otherwise each batch is as large as its config says.
    """

    def __init__(self, config: TrialConfig, data: DeviceData) -> None:
        self._config = config
        self._data = data
        # Which images are mirrored in the first epoch, and in this one: a CUDA graph reads it.
        self._mirrored_first = self._first_mirrored() if config.alternate_flip else None
        self._mirrored = None if self._mirrored_first is None else self._mirrored_first.clone()
        self._mean = torch.tensor(data.source.mean).round().to(data.device, torch.uint8)
        scaling = Scaling(config, data.source.mean, data.source.deviation)
        self.scaling = scaling.to(data.device)
        self.joins_last_image = False

    @property
    def device(self) -> torch.device:
        """Device on which the batches are made."""
        return self._data.device

    @property
    def steps(self) -> int:
        """Number of batches per epoch, including a smaller last one."""
        return len(self._sizes())

    def _sizes(self) -> list[int]:
        """Return the number of images of each batch."""
        whole, rest = divmod(len(self._data.train), self._config.batch_size)
        sizes = [self._config.batch_size] * whole + [rest] * (rest > 0)
        if self.joins_last_image and rest == 1 and whole:
            sizes[-2:] = [self._config.batch_size + 1]
        return sizes

    def order(self, epoch: int = 0) -> tuple[Tensor, ...]:
        """Return the indices of the training images of each batch of an epoch, shape (b,).

        The order is new each time, from torch's default generator.

        Args:
            epoch: number of epochs before this one; only `alternate_flip` needs it.
        """
        if self._mirrored is not None and self._mirrored_first is not None:
            self._mirrored.copy_(self._mirrored_first ^ bool(epoch % 2))
        order = torch.randperm(len(self._data.train), device=self._data.device)
        return torch.split(order, self._sizes())

    def batch(self, indices: Tensor) -> tuple[Tensor, Targets]:
        """Return training images (b, C, H, W), augmented and scaled, and their classes."""
        images = self._data.train
        if self._config.crop or self._config.flip:
            pixels = self.augmented(indices)
        else:
            pixels = images.pixels[indices]
        if self._config.cutout:
            pixels = torch.where(self._cut(len(indices)), self._mean, pixels)
        targets = Targets(images.labels[indices])
        if self._config.cutmix:
            pixels, targets = self._mixed(pixels, targets.labels)
        return self.scaling(pixels), targets

    def evaluation(self, images: DeviceImages) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (b, height, width, C) in order, uint8, and their labels (b,)."""
        height, width = images.pixels.shape[1:3]
        count = evaluation_batch(self._config.batch_size, height, width)
        for start in range(0, len(images), count):
            part = slice(start, start + count)
            yield images.pixels[part], images.labels[part]

    def augmented(self, indices: Tensor) -> Tensor:
        """Gather training images, each shifted and mirrored at random, in one indexing operation.

        Args:
            indices: indices of the images, shape (b,).

        Returns:
            Pixels (b, height, width, channels) uint8.
        """
        pixels = self._data.train.pixels
        _, height, width, _ = pixels.shape
        rows = self._shifted(height, len(indices))
        columns = self._shifted(width, len(indices))
        if self._config.flip:
            if self._mirrored is None:
                mirror = torch.rand(len(indices), 1, device=pixels.device) < 0.5
            else:
                mirror = self._mirrored[indices, None]
            columns = torch.where(mirror, width - 1 - columns, columns)
        return pixels[indices[:, None, None], rows[:, :, None], columns[:, None, :]]

    def _first_mirrored(self) -> Tensor:
        """Return which training images are mirrored in the first epoch: half of them, by seed."""
        generator = torch.Generator().manual_seed(derive_seed(self._config.seed, 1))
        mirrored = torch.rand(len(self._data.train), generator=generator) < 0.5
        return mirrored.to(self._data.device)

    def _cut(self, count: int) -> Tensor:
        """Return which pixels of `count` images are cut out, shape (count, height, width, 1).

        The centre of the square is anywhere in the image, so a part of it may be outside.
        """
        _, height, width, _ = self._data.train.pixels.shape
        side = max(1, round(self._config.cutout * min(height, width)))
        rows = self._within(height, side, count)
        columns = self._within(width, side, count)
        return (rows[:, :, None] & columns[:, None, :])[..., None]

    def _mixed(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Targets]:
        """Paste a rectangle of the image before it over some of the images of a batch.

        The order of a batch is random, so the image before it is any other one.
        """
        count, height, width, _ = pixels.shape
        device = self._data.device
        # The root, so that all areas are equally likely.
        side = torch.rand(count, 1, device=device).sqrt()
        side *= torch.rand(count, 1, device=device) < self._config.cutmix
        rows = self._within(height, (side * height).round(), count)
        columns = self._within(width, (side * width).round(), count)
        inside = (rows[:, :, None] & columns[:, None, :])[..., None]
        pasted = inside.mean((1, 2, 3), dtype=torch.float32)
        mixed = torch.where(inside, pixels.roll(1, 0), pixels)
        return mixed, Targets(labels, labels.roll(1, 0), pasted)

    def _within(self, size: int, length: int | Tensor, count: int) -> Tensor:
        """Return which of `size` pixels are within a length of a random centre, for each image.

        Shapes: `length` is a number or (count, 1); the result is (count, size).
        """
        device = self._data.device
        first = torch.randint(size, (count, 1), device=device) - length // 2
        index = torch.arange(size, device=device)
        return (index >= first) & (index < first + length)

    def _shifted(self, size: int, count: int) -> Tensor:
        """Return `count` rows of indices 0..size-1, each shifted at random and reflected at edges.

        The shape is (count, size).
        """
        device = self._data.device
        index = torch.arange(size, device=device)
        if not self._config.crop:
            return index.expand(count, size)
        limit = shift_in_pixels(self._config.crop, size)
        shift = torch.randint(-limit, limit + 1, (count, 1), device=device)
        return reflected(index + shift, size)
