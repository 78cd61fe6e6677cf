"""`ImageOptions`: how the images of a data set are read, the same for all trials of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Literal

from pydantic import Field, Strict

from tunecnn.data.registry import IMAGEFOLDER, is_own, kind_and_path
from tunecnn.files import expanded

Size = Annotated[int, Strict(), Field(ge=1, le=4096)]
Fit = Literal["crop", "pad", "stretch"]
Scale = Annotated[float, Strict(), Field(gt=0, le=2**32, allow_inf_nan=False)]
SkipBad = Annotated[bool, Strict()]


@dataclass(frozen=True)
class ImageOptions:
    """How images are read.

    Attributes:
        size: height and width of all images in pixels; None to leave them as they are.
        fit: how an image that is not square gets `size`: `crop` cuts the longer side, `pad` adds
            background to the shorter one, `stretch` changes the proportions.
        background: colour behind transparent pixels and of padding, by name or as `#rrggbb`.
        scale: value that becomes white (255) in images of more than 8 bits per channel; None to
            refuse such images.
        groups: images that must not be divided between parts: `folder` for the folders below each
            class, or the path of a CSV file with the columns `file` and
            `group`; None for no groups.
        skip_bad: whether to leave out files that cannot be read, instead of refusing the data set.
    """

    size: Size | None = None
    fit: Fit = "crop"
    background: str = "white"
    scale: Scale | None = None
    groups: str | None = None
    skip_bad: SkipBad = False


IMAGE_OPTIONS = tuple(field.name for field in fields(ImageOptions))
"""Names of the options, which are also settings of a trial and keys of a space."""
GROUPS_BY_FOLDER = "folder"


def option_problems(options: ImageOptions, dataset: str) -> Iterator[tuple[str, str]]:
    """Yield the options that a data set cannot use, each with the reason; and a wrong colour.

    Raises:
        InputError: if there is no such data set.
    """
    defaults = ImageOptions()
    if options == defaults:
        return
    own = is_own(dataset)
    for name in ("background", "scale", "groups", "skip_bad"):
        if not own and getattr(options, name) != getattr(defaults, name):
            yield name, f"is for own images, not for {dataset!r}"
    if own and options.groups is not None and kind_and_path(dataset)[0] != IMAGEFOLDER:
        yield "groups", "is for imagefolder:PATH; arrays have their own array groups"
    if options.size is None and options.fit != defaults.fit:
        yield "fit", f"{options.fit!r} has no effect without size, such as size: 32"
    if options.background != defaults.background:
        from PIL import ImageColor

        try:
            ImageColor.getrgb(options.background)
        except ValueError:
            text = f"{options.background!r} is no colour; write a name such as black, or #rrggbb"
            yield "background", text


def absolute_groups(groups: str) -> str:
    """Return `groups` with the path of its table made absolute."""
    return groups if groups == GROUPS_BY_FOLDER else str(expanded(groups).resolve())
