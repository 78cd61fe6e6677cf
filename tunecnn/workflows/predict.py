"""Prediction of the classes of image files by a trained network."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunecnn.data.folder.node import may_be_image
from tunecnn.data.folder.pixels import (
    ABOVE,
    BadImageError,
    NotAnImageError,
    check_image,
    read_pixels,
)
from tunecnn.data.folder.tree import open_tree
from tunecnn.data.images import Pixels, only_colour
from tunecnn.data.options import ImageOptions
from tunecnn.errors import InputError, reason
from tunecnn.files import check_regular
from tunecnn.models.designs import InputShape
from tunecnn.models.running import running_network
from tunecnn.words import count_in_words, shown
from tunecnn.workflows.found_model import FoundModel, find_model

if TYPE_CHECKING:
    from tunecnn.trial.trained import TrainedModel

_AT_ONCE = 256
_MOST_SHOWN = 8


def predict_files(
    model: Path, images: Sequence[Path], top: int
) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """Predict the classes of image files.

    They are read as the images of the training were: as shown, in the size of the model. All files
    are read before this returns.

    Args:
        model: file of weights, or folder of a run, whose confirmed or best trial is taken.
        images: image files, or folders of them.
        top: number of classes for each image.

    Returns:
        The name of each file, and its likeliest classes with their probabilities, best first.

    Raises:
        InputError: if files cannot be used, all of which are named, or there are none.
        RunError: if the model cannot be read.
    """
    files, broken = _files(images)
    # Before torch and the model are loaded, which takes seconds.
    _refuse([f"  {shown(one)}: {why}" for one, why in broken.items()], [*files, *broken])
    with running_network(f"the network of {model} failed"):
        found = find_model(model)
    read, pixels = _read(files, set(images), found.model)
    if not read:
        raise InputError("there are no image files to predict")
    return _predictions(found, read, pixels, top)


def _predictions(
    found: FoundModel, files: Sequence[Path], pixels: Pixels, top: int
) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    classes = found.model.classes
    for start in range(0, len(files), _AT_ONCE):
        batch = slice(start, start + _AT_ONCE)
        with running_network(f"the network of {found.path} failed"):
            rows = found.model.probabilities(pixels[batch])
        for file, row in zip(files[batch], rows, strict=True):
            best = np.argsort(-row, kind="stable")[:top]
            yield shown(file), [(classes[label], float(row[label])) for label in best]


def _files(paths: Sequence[Path]) -> tuple[list[Path], dict[Path, str]]:
    """Return the files of paths and of folders, and why others cannot be read."""
    files: list[Path] = []
    broken: dict[Path, str] = {}
    for path in paths:
        if path.is_dir():
            listing = open_tree(path).list()
            there = [path / file.name for file in listing.files if may_be_image(file)]
            if left_out := len(listing.files) - len(there):
                warnings.warn(f"{path}: {_left_out(left_out)}: no image by name", stacklevel=4)
            files += there
            broken |= {path / name: why for name, why in listing.broken.items()}
            continue
        try:
            check_regular(path)
            check_image(path)
            files.append(path)
        except (OSError, BadImageError, NotAnImageError) as error:
            broken[path] = _why(error)
    return files, broken


def _read(
    files: Sequence[Path], named: Collection[Path], model: TrainedModel
) -> tuple[list[Path], Pixels]:
    """Return the images among some files, and their pixels.

    Args:
        files: the files.
        named: those that the user has named, which have to be images.
        model: model that takes them.
    """
    channels, height, width = model.input_shape
    options = model.config.image_options
    pixels = np.empty((len(files), height, width, channels), np.uint8)
    bad, read, changes = list[str](), list[Path](), Counter[str]()
    for file in files:
        try:
            pixels[len(read)], done = _one(file, options, model.input_shape)
        except (OSError, BadImageError, NotAnImageError) as error:
            if not isinstance(error, NotAnImageError) or file in named:
                bad.append(f"  {shown(file)}: {_why(error)}")
            continue
        read.append(file)
        changes.update(done)
    _refuse(bad, files)
    for text in _doubts(pixels[: len(read)], changes, options.scale):
        warnings.warn(text, stacklevel=3)
    if left_out := len(files) - len(read):
        warnings.warn(f"{_left_out(left_out)}: no image by content", stacklevel=3)
    return read, pixels[: len(read)]


def _doubts(pixels: Pixels, changes: Mapping[str, int], scale: float | None) -> Iterator[str]:
    """Yield what is strange in images for a model whose training images had a scale."""
    if scale is None:
        return
    if count := changes.get(ABOVE, 0):
        yield (
            f"{count_in_words(count, 'image')} with values above {scale:g}, which is white in "
            "the images of the training (scale): they are white now"
        )
    if colour := only_colour([pixels]):
        yield (
            f"all images are {colour}: in those of the training, {scale:g} is white (scale), so "
            "these may have to be saved otherwise"
        )


def _left_out(count: int) -> str:
    return f"{count_in_words(count, 'file')} {'is' if count == 1 else 'are'} left out"


def _why(error: Exception) -> str:
    """Return why a file cannot be read, for a message."""
    return "not an image" if isinstance(error, NotAnImageError) else reason(error)


def _refuse(bad: Sequence[str], files: Sequence[Path]) -> None:
    """Refuse files that cannot be used, if there are any."""
    if bad:
        more = [f"  and {len(bad) - _MOST_SHOWN:,} more"] if len(bad) > _MOST_SHOWN else []
        raise InputError(
            f"{len(bad):,} of {len(files):,} files cannot be used:\n"
            + "\n".join([*bad[:_MOST_SHOWN], *more])
        )


def _one(file: Path, options: ImageOptions, shape: InputShape) -> tuple[Pixels, list[str]]:
    """Return the pixels of a file for a model, and the transformations that were made."""
    channels, height, width = shape
    try:
        pixels, done = read_pixels(file, file.name, options)
    except BadImageError as error:
        if "scale:" not in str(error):
            raise
        raise BadImageError(
            "it has more than 8 bits per channel, and the images of the training had 8; convert it"
        ) from error
    if pixels.shape[:2] != (height, width):
        raise BadImageError(
            f"it has {pixels.shape[1]}x{pixels.shape[0]} pixels, and the model takes "
            f"{width}x{height}; a model trained with size: takes any size"
        )
    if channels not in (1, 3):
        raise BadImageError(f"it is read with 1 or 3 channels, and the model takes {channels}")
    if channels == 1 and pixels.shape[2] == 3:
        if (pixels != pixels[..., :1]).any():
            raise BadImageError("it has colours, and the model takes grey images")
        return pixels[..., :1], done
    return pixels, done  # a grey image for a model of colours gets three equal channels
