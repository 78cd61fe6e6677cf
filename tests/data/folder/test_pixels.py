"""Images are read as a viewer shows them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import PIL
import pytest
from PIL import Image

from tests.support.trees import picture, png_of_16_bits, save
from tunecnn.data.folder import pixels
from tunecnn.data.folder.pixels import BadImageError, NotAnImageError, read_pixels
from tunecnn.data.folder.reader import read_imagefolder
from tunecnn.data.options import ImageOptions

DEFAULT = ImageOptions()


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def read(image, kind="PNG", options=DEFAULT, **saving):
    return read_pixels(encoded(image, kind, **saving), f"x.{kind.lower()}", options)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_exif_orientation_is_applied_once(kind, orientation):
    image = Image.new("RGB", (16, 8), "black")
    image.paste("white", (0, 0, 8, 4))  # the upper left corner of what the sensor saw
    exif = Image.Exif()
    exif[0x0112] = orientation
    array, done = read(image, kind, exif=exif)
    corners = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1),
               7: (-1, -1), 8: (-1, 0)}  # fmt: skip
    assert array.shape[:2] == ((8, 16) if orientation < 5 else (16, 8))
    bright = array[..., 0] > 128
    assert bright[corners[orientation]]
    assert bright.sum() == 32
    assert done == ([pixels.TURNED] if orientation > 1 else [])


def test_transparent_pixels_show_the_background_and_not_what_they_hide():
    values = np.full((6, 6, 4), 90, np.uint8)
    values[..., 3] = 0
    values[2:4, 2:4] = (255, 0, 0, 255)
    array, done = read(Image.fromarray(values))
    assert (array[0, 0] == 255).all()
    assert array[2, 2].tolist() == [255, 0, 0]
    assert done == ["transparency laid on white"]
    black, _ = read(Image.fromarray(values), options=ImageOptions(background="black"))
    assert (black[0, 0] == 0).all()


def test_half_transparent_pixels_are_mixed():
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    array, _ = read(half)
    assert abs(int(array[0, 0, 0]) - 127) <= 1


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_images_have_one_channel(mode):
    assert read(picture(channels=1).convert(mode))[0].shape == (10, 10, 1)


def test_grey_with_transparency_stays_grey():
    image = Image.merge("LA", [picture(channels=1), Image.new("L", (10, 10), 0)])
    array, _ = read(image)
    assert array.shape == (10, 10, 1)
    assert (array == 255).all()


def test_a_palette_is_grey_if_its_colours_are():
    grey = picture(channels=1)
    assert read(grey, "GIF")[0].shape == (10, 10, 1)
    array, _ = read(picture().quantize(16), "GIF")
    assert array.shape == (10, 10, 3)


def test_a_transparent_colour_of_a_palette_shows_the_background():
    image = picture().quantize(4)
    transparent = image.getpixel((0, 0))
    array, done = read(image, "PNG", transparency=transparent)
    assert (array[0, 0] == 255).all()
    assert done == ["transparency laid on white"]


def test_the_first_frame_of_an_animation_is_taken():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    array, done = read(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert array[0, 0].tolist() == [255, 0, 0]
    assert pixels.FIRST_FRAME in done


OLD_PILLOW = int(PIL.__version__.partition(".")[0]) < 13  # whose TIFFs of YCbCr end too early


@pytest.mark.parametrize(
    "mode",
    [
        "CMYK",
        pytest.param("YCbCr", marks=pytest.mark.skipif(OLD_PILLOW, reason="no such file")),
        "LAB",
    ],
)
def test_other_colours_are_converted_and_said(mode):
    colour = (200, 128, 128) if mode == "LAB" else None
    image = Image.new("LAB", (4, 4), colour) if colour else picture().convert(mode)
    array, done = read(image, "TIFF")
    assert array.shape[2] == 3
    assert done == [pixels.INVERTED]
    if mode == "LAB":  # a neutral grey
        assert np.ptp(array[0, 0].astype(int)) <= 4


def deep(kind):
    values = np.arange(64).reshape(8, 8)
    if kind == "float":
        return encoded(Image.fromarray((values / 64).astype(np.float32)), "TIFF"), "x.tif"
    if kind == "16-bit":
        return encoded(Image.fromarray((values * 60).astype(np.uint16))), "x.png"
    return png_of_16_bits(np.stack([values * 60] * 3, axis=-1)), "x.png"


@pytest.mark.parametrize(
    ("kind", "scale", "hint"),
    [("float", 63 / 64, "1.0"), ("16-bit", 3780, "4095"), ("16-bit colour", 3780, "4095")],
)
def test_more_than_8_bits_need_a_scale(kind, scale, hint):
    content, name = deep(kind)
    with pytest.raises(BadImageError, match=f"it has {kind} pixels.*scale: {hint}"):
        read_pixels(content, name, DEFAULT)
    array, done = read_pixels(content, name, ImageOptions(scale=scale))
    assert array.shape[2] == (3 if "colour" in kind else 1)
    assert array.dtype == np.uint8
    expected = np.rint(np.arange(64) / 63 * 255)
    assert np.array_equal(array[..., 0].ravel(), expected)
    assert done == [pixels.SCALED]


def test_a_tiff_may_say_that_0_is_white():
    content = encoded(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 60), "TIFF")
    tag = (262).to_bytes(2, "little") + b"\3\0\1\0\0\0"
    assert content.count(tag + b"\1") == 1
    options = ImageOptions(scale=3780)
    shown, _ = read_pixels(content, "x.tif", options)
    inverse, _ = read_pixels(content.replace(tag + b"\1", tag + b"\0"), "x.tif", options)
    assert np.abs(255 - shown.astype(int) - inverse).max() <= 1
    assert shown[0, 0, 0] == 0


def test_nan_in_an_image_is_refused():
    content = encoded(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF")
    with pytest.raises(BadImageError, match="not numbers"):
        read_pixels(content, "x.tif", ImageOptions(scale=1.0))


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "x.jpg", "the file is empty"),
        (b"hello", "x.png", "not an image that can be read"),
        (b"hello", "x.svg", "not an image that can be read"),
        (encoded(picture(size=(64, 64)), "JPEG")[:-200], "x.jpg", "truncated"),
        (encoded(picture(), "TIFF"), "x.nef", "raw file"),
    ],
)
def test_what_should_be_an_image_and_is_none_is_bad(content, name, message):
    with pytest.raises(BadImageError, match=message):
        read_pixels(content, name, DEFAULT)


def test_an_image_too_large_is_bad(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(BadImageError, match="100 pixels, more than the 80 that are read"):
        read(picture())


@pytest.mark.parametrize("name", ["notes.txt", "README", "data.csv"])
def test_what_does_not_claim_to_be_an_image_is_none(name):
    with pytest.raises(NotAnImageError):
        read_pixels(b"some text", name, DEFAULT)


@pytest.mark.parametrize("name", ["photo", "photo.txt", "photo.jpg"])
def test_the_content_decides_and_not_the_suffix(name):
    image = picture()
    array, _ = read_pixels(encoded(image, "WEBP", lossless=True), name, DEFAULT)
    assert np.array_equal(array, np.asarray(image))


def test_a_targa_is_read_by_its_suffix_only():
    content = encoded(picture(), "TGA")
    assert read_pixels(content, "x.tga", DEFAULT)[0].shape == (10, 10, 3)
    with pytest.raises(NotAnImageError):
        read_pixels(content, "x", DEFAULT)


def test_sizes_fit_by_cropping_padding_or_stretching():
    image = Image.new("L", (20, 10), 128)  # which a crop to the middle does not have
    image.paste(0, (5, 0, 10, 10))
    image.paste(255, (10, 0, 15, 10))
    crop, pad, stretch = (
        read(image, options=ImageOptions(size=8, fit=fit))[0][..., 0]
        for fit in ("crop", "pad", "stretch")
    )
    assert crop.shape == pad.shape == stretch.shape == (8, 8)
    assert (pad[0] == 255).all()  # the background
    for edge in (pad[4, 0], stretch[0, 0], stretch[0, -1]):
        assert int(edge) == pytest.approx(128, abs=5)
    assert crop[0, 0] < 30
    assert crop[0, -1] > 225


def test_values_below_black_are_not_made_black():
    values = np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)
    with pytest.raises(BadImageError, match="it has float pixels from -1 to 1, and black is 0"):
        read_pixels(encoded(Image.fromarray(values), "TIFF"), "x.tif", ImageOptions(scale=1.0))


def tiff_of_bands(values, extra, kind=1, photometric=2):
    """A TIFF of bytes with RGB and further bands, as programs for satellite images write them."""
    height, width, bands = values.shape
    tags = {256: (4, [width]), 257: (4, [height]), 258: (3, [8] * bands), 259: (3, [1]),
            262: (3, [photometric]), 273: (4, [0]), 277: (3, [bands]), 278: (4, [height]),
            279: (4, [values.nbytes]), 339: (3, [kind] * bands),
            **({338: (3, extra)} if extra else {})}  # fmt: skip
    end, sizes = 8 + 2 + 12 * len(tags) + 4, {3: "H", 4: "I"}
    tags[273] = (
        4,
        [end + sum(len(one) * 2 for type_, one in tags.values() if type_ == 3 and len(one) > 2)],
    )
    entries, long = b"", b""
    for tag, (type_, one) in sorted(tags.items()):
        packed = struct.pack(f"<{len(one)}{sizes[type_]}", *one)
        if len(packed) > 4:
            packed, long = struct.pack("<I", end + len(long)), long + packed
        entries += struct.pack("<HHI", tag, type_, len(one)) + packed.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return head + entries + struct.pack("<I", 0) + long + values.tobytes()


def test_bands_of_a_tiff_that_are_no_colours_are_refused_and_not_left_out():
    values = np.random.default_rng(0).integers(0, 256, (6, 5, 5)).astype(np.uint8)
    for bands, extra in ((4, [0]), (5, [0, 0]), (5, [2, 0])):
        with pytest.raises(BadImageError, match=f"it has {bands} bands, and images have 1"):
            read_pixels(tiff_of_bands(values[..., :bands], extra), "x.tif", DEFAULT)
    opaque = values[..., :4].copy()
    opaque[..., 3] = 255
    array, _ = read_pixels(tiff_of_bands(opaque, [2]), "x.tif", DEFAULT)
    assert np.array_equal(array, values[..., :3])
    with pytest.raises(BadImageError, match="it has signed bytes, and black is 0"):
        read_pixels(tiff_of_bands(values[..., :1], [], 2, 1), "x.tif", DEFAULT)


def test_a_bmp_with_16_bits_for_all_colours_is_not_deep(tmp_path):
    bits = struct.pack("<16H", *[31 << 11] * 16)
    header = struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, 16, 3, len(bits), 0, 0, 0, 0)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    start = 14 + len(header) + len(masks)
    content = struct.pack("<2sIHHI", b"BM", start + len(bits), 0, 0, start) + header + masks + bits
    pixels, done = read_pixels(content, "red.bmp", ImageOptions())
    assert (pixels == (255, 0, 0)).all()
    assert not done


def planar_tiff(colours):
    """A TIFF of 16 bits whose red, green and blue lie in planes, as tifffile writes them."""
    height, width, _ = colours.shape
    planes = [colours[..., i].astype("<u2").tobytes() for i in range(3)]
    at = [8 + i * len(planes[0]) for i in range(4)]
    # Behind the planes: the bits of each, where each begins, and how long it is.
    extra = struct.pack("<3H", 16, 16, 16) + struct.pack("<6I", *at[:3], *map(len, planes))
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, at[3]), (259, 3, 1, 1),
            (262, 3, 1, 2), (273, 4, 3, at[3] + 6), (277, 3, 1, 3), (278, 3, 1, height),
            (279, 4, 3, at[3] + 18), (284, 3, 1, 2)]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    directory = at[3] + len(extra)
    return (
        b"II*\0"
        + struct.pack("<I", directory)
        + b"".join(planes)
        + extra
        + struct.pack("<H", len(tags))
        + entries
        + bytes(4)
    )


def test_planes_of_16_bits_are_refused_and_not_misread():
    content = planar_tiff(np.arange(192, dtype=np.uint16).reshape(8, 8, 3) * 300)
    assert Image.open(io.BytesIO(content)).size == (8, 8)
    with pytest.raises(BadImageError, match=r"16-bit colours, and of a TIFF only .* convert it"):
        read_pixels(content, "x.tif", ImageOptions(scale=65535))
    with pytest.raises(BadImageError, match="convert it to PNG"):
        read_pixels(content, "x.tif", DEFAULT)


@pytest.mark.parametrize("shape", [(9, 1, 3), (1, 9, 3), (1, 1, 3)])
def test_colours_of_16_bits_stay_colours_in_a_row_of_pixels(shape):
    content = png_of_16_bits(np.full(shape, 65535, np.uint16))
    pixels, _ = read_pixels(content, "x.png", ImageOptions(scale=65535))
    assert pixels.shape == shape


def test_a_transparent_colour_of_16_bits_is_refused():
    content = png_of_16_bits(np.full((4, 4, 3), 700, np.uint16))
    key = struct.pack(">I", 6) + b"tRNS" + struct.pack(">3H", 700, 700, 700)
    key += struct.pack(">I", zlib.crc32(key[4:]))
    with_key = content[:33] + key + content[33:]  # behind the header
    with pytest.raises(BadImageError, match="with transparency; convert it to 8 bits"):
        read_pixels(with_key, "x.png", ImageOptions(scale=65535))


def test_colours_of_16_bits_in_a_ppm_are_refused_as_in_a_tiff(tmp_path):
    values = np.full((4, 4, 3), 4000, ">u2")
    (tmp_path / "a.ppm").write_bytes(b"P6\n4 4\n4095\n" + values.tobytes())
    for options in (ImageOptions(), ImageOptions(scale=4095)):
        with pytest.raises(BadImageError, match="of a PPM only the upper 8 bits could be read"):
            read_pixels(tmp_path / "a.ppm", "a.ppm", options)
    (tmp_path / "b.ppm").write_bytes(b"P6\n4 4\n255\n" + bytes(range(48)))
    assert read_pixels(tmp_path / "b.ppm", "b.ppm", ImageOptions())[0][0, 0].tolist() == [0, 1, 2]


def test_images_that_lose_most_of_their_pixels_by_cropping_are_counted(tmp_path):
    for k, size in enumerate(((10, 40), (40, 10), (10, 19))):
        for i in range(4):
            save(tmp_path / "data" / "ab"[i % 2] / f"{k}{i}.png", picture(i, size))
    for fit, count in (("crop", 8), ("pad", 0), ("stretch", 0)):
        arrays = read_imagefolder(tmp_path / "data", ImageOptions(size=8, fit=fit))
        name = "cropped to less than half of its pixels (fit: pad keeps all)"
        assert arrays.reading.changed.get(name, 0) == count


def test_what_git_lfs_leaves_in_the_place_of_an_image_is_named():
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    with pytest.raises(BadImageError, match="fetch it with git lfs pull"):
        read_pixels(pointer, "a.png", DEFAULT)
