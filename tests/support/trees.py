"""Small trees of image files, as people have them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_RANDOM = np.random.default_rng(7)


def picture(label: int = 0, size: tuple[int, int] = (10, 10), channels: int = 3) -> Image.Image:
    """A noisy picture whose brightness tells its class; no two are equal."""
    pixels = _RANDOM.integers(0, 70, (*size, channels)) + 30 + 120 * (label % 2)
    return Image.fromarray((pixels[..., 0] if channels == 1 else pixels).astype(np.uint8))


def save(path: Path, image: Image.Image | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or picture()).save(path, **options)
    return path


def tree(
    root: Path,
    folders: Sequence[str] = ("train/cat", "train/dog", "test/cat", "test/dog"),
    count: int = 6,
) -> Path:
    """Fill folders with pictures; the last component of a folder is its class."""
    for folder in folders:
        label = sorted({name.rpartition("/")[2] for name in folders}).index(
            folder.rpartition("/")[2]
        )
        for i in range(count):
            save(root / folder / f"{folder.replace('/', '_')}_{i}.png", picture(label))
    return root


def png_of_16_bits(colours: np.ndarray) -> bytes:
    """A PNG of colours (height, width, 3); Pillow and torchvision write none of 16 bits."""
    height, width, _ = colours.shape
    rows = colours.astype(">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )


PARTS = ["train"] * 6 + ["val"] * 2 + ["test"] * 4
"""A part for each of twelve images."""


def numbered(root: Path, count: int, folder: str = ".") -> Path:
    """Save pictures called 0.png, 1.png and so on in a folder of a tree."""
    for i in range(count):
        save(root / folder / f"{i}.png", picture(i))
    return root


def table(root: Path, *rows: str, name: str = "labels.csv") -> None:
    """Write a table into a tree."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join(rows) + "\n")
