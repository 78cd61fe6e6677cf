"""The pixels of an image file as a viewer shows them: turned, on a ground, in 8 bits.

`VERSION` is part of the key of every cache of decoded images, and changes with the result of any
function here.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError

from tunecnn.data.folder.tree import Source, Unreadable, suffix_of
from tunecnn.data.images import Pixels, likely_white
from tunecnn.data.options import ImageOptions
from tunecnn.errors import text_of

VERSION = 8
_ORIENTATION = 0x0112  # EXIF tag
_PHOTOMETRIC, _BITS, _SAMPLES, _EXTRA, _SAMPLE_FORMAT = 262, 258, 277, 338, 339  # tags of TIFF
_FORMATS = (
    "PNG", "JPEG", "MPO", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO",
    "PCX", "SGI", "HEIF",
)  # fmt: skip
# Formats without a signature of their own: any file might be one, so the suffix must say so.
_BY_SUFFIX: Mapping[str, str] = {".tga": "TGA", ".icb": "TGA", ".vda": "TGA", ".vst": "TGA"}
_RAW = frozenset({".nef", ".cr2", ".cr3", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef"})
_HEIF = frozenset({".heic", ".heif", ".hif"})
_OTHER_IMAGES = frozenset({".svg", ".psd", ".xcf", ".eps", ".jxl"}) | _HEIF
_OPAQUE = 65535
_LFS = b"version https://git-lfs"
TURNED = "turned as EXIF says"
FIRST_FRAME = "first frame of several"
SCALED = "scaled to 8 bits"
ABOVE = "values above scale, now white"
CROPPED = "cropped to less than half of its pixels (fit: pad keeps all)"
INVERTED = "colours converted to RGB"


class NotAnImageError(Exception):
    """The file is not an image, and its name does not claim that it is one."""


class BadImageError(Exception):
    """The file should be an image, but its pixels cannot be used; the message says why."""


def read_pixels(source: Source, name: str, options: ImageOptions) -> tuple[Pixels, list[str]]:
    """Read an image file.

    Args:
        source: path of the file, or its content.
        name: name of the file, whose suffix tells what it should be.
        options: size, background and scale.

    Returns:
        The pixels, of shape (height, width, 1 or 3), and the transformations that were made.

    Raises:
        NotAnImageError: if it is not an image.
        BadImageError: if it is an image that cannot be used.
    """
    if isinstance(source, Unreadable):
        raise BadImageError(source.reason)
    suffix = suffix_of(name)
    if suffix in _RAW:
        raise BadImageError(
            "a camera's raw file, of which only the preview could be read; convert it"
        )
    try:
        with _opened(source, suffix) as image:
            return pixels_of(image, options)
    except (NotAnImageError, BadImageError):
        raise
    except Image.DecompressionBombError as error:
        claimed, allowed, *_ = re.findall(r"\d+", str(error))
        raise BadImageError(
            f"it has {int(claimed):,} pixels, more than the {int(allowed):,} that are read; "
            "make it smaller"
        ) from error
    except Exception as error:  # Pillow raises many types, also struct.error and KeyError
        raise BadImageError(text_of(error) or type(error).__name__) from error


def pixels_of(image: Image.Image, options: ImageOptions) -> tuple[Pixels, list[str]]:
    """Return the pixels of an image as a viewer shows it, in the size of the options.

    Returns:
        The pixels, of shape (height, width, 1 or 3), and the transformations that were made.

    Raises:
        BadImageError: if it cannot be used.
    """
    upright, done = as_shown(image, options)
    if options.size is not None and options.fit == "crop":
        done += [CROPPED] * (max(upright.size) > 2 * min(upright.size))
    return _array(fitted(upright, options)), done


def check_image(file: Path) -> None:
    """Check by its first bytes that a file is an image; its pixels may still be damaged.

    Raises:
        NotAnImageError, BadImageError: as for `read_pixels`.
        OSError: if it cannot be read.
    """
    if (suffix := suffix_of(file.name)) not in _RAW:
        _opened(file, suffix).close()


def _opened(source: Path | bytes, suffix: str) -> Image.Image:
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    if suffix in _HEIF and not can_read_heif():
        raise BadImageError("HEIC images need one more package: pip install pillow-heif")
    try:
        return Image.open(stream, formats=_formats(_BY_SUFFIX.get(suffix)))
    except UnidentifiedImageError:
        if suffix in Image.registered_extensions() or suffix in _OTHER_IMAGES:
            raise BadImageError(_why_no_image(source)) from None
        raise NotAnImageError from None


def _why_no_image(source: Path | bytes) -> str:
    """Say what a file is that has the name of an image and is none."""
    if isinstance(source, bytes):
        head = source[: len(_LFS)]
    else:
        with source.open("rb") as stream:
            head = stream.read(len(_LFS))
    if not head:
        return "the file is empty"
    if head == _LFS:
        return "it only says where Git LFS keeps the image: fetch it with git lfs pull"
    return "not an image that can be read"


@functools.cache
def _formats(more: str | None) -> list[str]:
    """Return the names of the formats that this Pillow can read, and of one more."""
    Image.init()
    return [name for name in (*_FORMATS, more) if name in Image.OPEN]


@functools.cache
def can_read_heif() -> bool:
    """Return whether the package for HEIC and HEIF images is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    _formats.cache_clear()
    return True


def as_shown(image: Image.Image, options: ImageOptions) -> tuple[Image.Image, list[str]]:
    """Return an image as a viewer shows it, in mode `L` or `RGB`, and what was done to it.

    The first frame is taken, turned as its EXIF orientation says, and laid on the background if
    any pixel is transparent. Images of more than 8 bits per channel are divided by the scale.
    Grey images stay grey, also with an alpha channel or a palette.

    Raises:
        BadImageError: if an image of more than 8 bits has no scale.
    """
    if image.format == "TIFF":
        _check_bands(getattr(image, "tag_v2", {}))
    done = []
    if getattr(image, "is_animated", False):
        image.seek(0)
        done.append(FIRST_FRAME)
    deep = _deep_values(image)
    if deep is not None:
        image, is_above = _scaled(image, deep, options)
        done += [SCALED, ABOVE] if is_above else [SCALED]
    if _is_turned(image):
        done.append(TURNED)
        image.load()  # which turns a TIFF
        if _is_turned(image):
            image = ImageOps.exif_transpose(image)
    flat = _on_background(image, options.background)
    if flat is not None:
        return flat, [*done, f"transparency laid on {options.background}"]
    if image.mode in ("1", "L", "LA", "La"):
        return image.convert("L"), done
    if image.mode == "P":
        colours = image.convert("RGB")
        return (colours.convert("L") if _is_grey(colours) else colours), done
    if image.mode in ("RGB", "RGBA", "RGBX", "RGBa", "PA"):
        return image.convert("RGB"), done
    if image.mode == "LAB":
        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")
        assert converted is not None
        return converted, [*done, INVERTED]
    return image.convert("RGB"), [*done, INVERTED]  # CMYK, YCbCr, HSV


def _check_bands(tags: Mapping[int, Any]) -> None:
    """Refuse a TIFF with values that Pillow would leave out, or take for something else.

    Raises:
        BadImageError: if it has more bands than colours and an alpha channel, or negative bytes.
    """
    bands = tags.get(_SAMPLES, 1)
    # Some write RGB as three bands of grey.
    of_colours = {0: (1, 3), 1: (1, 3), 3: (1,), 5: (4,)}.get(tags.get(_PHOTOMETRIC, 2), (3,))
    has_alpha = tuple(tags.get(_EXTRA, ())) in ((1,), (2,))
    if bands - has_alpha not in of_colours:
        raise BadImageError(
            f"it has {bands} bands, and images have 1 (grey) or 3 (RGB): save those that are to "
            "be used"
        )
    if 2 in tags.get(_SAMPLE_FORMAT, ()) and max(tags.get(_BITS, (1,))) == 8:
        raise BadImageError(
            "it has signed bytes, and black is 0: add the same number to all images, and save "
            "them as unsigned"
        )


def _is_turned(image: Image.Image) -> bool:
    return image.getexif().get(_ORIENTATION, 1) in range(2, 9)


def fitted(image: Image.Image, options: ImageOptions) -> Image.Image:
    """Return an image in the size of the options; without one, return it unchanged."""
    if options.size is None or image.size == (options.size, options.size):
        return image
    wanted = (options.size, options.size)
    if options.fit == "stretch":
        return image.resize(wanted)
    if options.fit == "pad":
        return ImageOps.pad(image, wanted, color=options.background)
    return ImageOps.fit(image, wanted)


def resized(pixels: Pixels, options: ImageOptions) -> Pixels:
    """Return images (n, height, width, channels) in the size of the options."""
    if not len(pixels):
        return np.zeros((0, options.size or 0, options.size or 0, pixels.shape[3]), np.uint8)
    images = (Image.fromarray(one.squeeze(-1) if one.shape[2] == 1 else one) for one in pixels)
    return np.stack([_array(fitted(image, options)) for image in images])


def _array(image: Image.Image) -> Pixels:
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array


def _deep_values(image: Image.Image) -> str | None:
    """Return what the pixels of an image are if they have more than 8 bits, else None.

    Pillow reads 16-bit colours as mode RGB without their lower bytes, so the mode does not tell.
    """
    if image.mode.startswith(("I", "F")):
        return {"F": "float", "I": "32-bit"}.get(image.mode, "16-bit")
    raw = str(image.tile[0][3]) if isinstance(image, ImageFile.ImageFile) and image.tile else ""
    # "BGR;16" is a pixel of 16 bits, five or six for each colour. The planes of a TIFF do not say.
    bits = getattr(image, "tag_v2", {}).get(_BITS, ()) if image.format == "TIFF" else ()
    is_deep = ";16" in raw.replace("BGR;16", "") or max(bits, default=8) > 8
    if image.format == "PPM" and isinstance(image, ImageFile.ImageFile) and image.tile:
        args = image.tile[0][3]
        is_deep |= isinstance(args, tuple) and args[-1] > 255  # the value that is white
    return "16-bit colour" if is_deep else None


def _scaled(image: Image.Image, deep: str, options: ImageOptions) -> tuple[Image.Image, bool]:
    """Return an image of 8 bits, and whether values above the scale have become white."""
    if "transparency" in image.info:
        raise BadImageError(f"it has {deep} pixels with transparency; convert it to 8 bits")
    values = _colours_of_16_bits(image) if deep == "16-bit colour" else np.asarray(image)
    if not np.isfinite(values).all():
        raise BadImageError("it has pixels that are not numbers (NaN or infinite)")
    if values.min() < 0:
        raise BadImageError(
            f"it has {deep} pixels from {values.min():.6g} to {values.max():.6g}, and black is 0: "
            "add the same number to all images"
        )
    if options.scale is None:
        raise BadImageError(
            f"it has {deep} pixels, here from {values.min():.6g} to {values.max():.6g}; say which "
            f"value is white: scale: {likely_white(values)}"
        )
    shares = np.clip(values / options.scale, 0, 1)
    if image.format == "TIFF" and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0:
        shares = 1 - shares  # 0 is white; of 8 bits, Pillow turns it round
    bytes_ = np.rint(shares * 255).astype(np.uint8)
    scaled = Image.fromarray(bytes_)
    image.load()  # the EXIF data may follow the pixels
    scaled.info["exif"] = image.info.get("exif", b"")
    return scaled, bool((values > options.scale).any())


def _colours_of_16_bits(image: Image.Image) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Read the colours of a PNG with 16 bits per channel, which Pillow cannot."""
    assert isinstance(image, ImageFile.ImageFile)
    if image.format != "PNG" or image.fp is None:
        raise BadImageError(
            f"it has 16-bit colours, and of a {image.format} only the upper 8 bits could be read; "
            "convert it to PNG"
        )
    import torch
    from torchvision.io import ImageReadMode, decode_png

    image.fp.seek(0)
    content = torch.frombuffer(bytearray(image.fp.read()), dtype=torch.uint8)
    values = decode_png(content, mode=ImageReadMode.UNCHANGED).permute(1, 2, 0)
    colours = values.to(torch.int32).numpy().astype(np.uint16)
    if colours.shape[2] in (2, 4):
        if colours[..., -1].min() < _OPAQUE:
            raise BadImageError("it has 16-bit colours with transparency; convert it to 8 bits")
        colours = colours[..., :-1]
    grey_or_rgb: np.ndarray[Any, np.dtype[np.uint16]]
    grey_or_rgb = colours[..., 0] if colours.shape[2] == 1 else colours
    return grey_or_rgb


def _on_background(image: Image.Image, background: str) -> Image.Image | None:
    """Lay an image on a background; None if no pixel is transparent."""
    if not (image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info):
        return None
    was_grey = image.mode in ("L", "LA", "La", "1")
    colours = image.convert("RGBA")
    lowest, _ = colours.getchannel("A").getextrema()
    if lowest == 255:
        return None
    ground = Image.new("RGBA", colours.size, background)
    flat = Image.alpha_composite(ground, colours).convert("RGB")
    if image.mode in ("P", "PA"):
        was_grey = _is_grey(colours.convert("RGB"))
    return flat.convert("L") if was_grey and _is_grey(flat) else flat


def _is_grey(image: Image.Image) -> bool:
    red, green, blue = (np.asarray(image.getchannel(name)) for name in "RGB")
    return bool(np.array_equal(red, green) and np.array_equal(green, blue))
