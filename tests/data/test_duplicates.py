from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tunecnn.data.duplicates import almost_identical, content_ids, united

RANDOM = np.random.default_rng(0)


def photos(count: int, size: int = 48) -> np.ndarray:
    """Smooth random pictures, as photographs are."""
    pictures = []
    for _ in range(count):
        noise = Image.fromarray(RANDOM.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        pictures.append(np.asarray(noise.resize((size, size), Image.Resampling.BICUBIC)))
    return np.stack(pictures)


def changed(pixels: np.ndarray, how: str) -> np.ndarray:
    image = Image.fromarray(pixels)
    if how == "jpeg":
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=60)
        image = Image.open(stream).convert("RGB")
    elif how == "scaled":
        small = image.resize((32, 32), Image.Resampling.BICUBIC)
        image = small.resize(image.size, Image.Resampling.BICUBIC)
    elif how == "blurred":
        image = image.filter(ImageFilter.GaussianBlur(1))
    elif how == "darker":
        image = image.point(lambda value: int(value * 0.95))
    return np.asarray(image)


def found(first: np.ndarray, second: np.ndarray) -> set[int]:
    """Indices of images of the second part that are almost identical to one of the first."""
    ids = content_ids([first, second])
    return almost_identical([first, second], [ids[: len(first)], ids[len(first) :]])[1][0]


def test_equal_images_have_equal_numbers_across_parts():
    first = photos(3)
    second = np.concatenate([photos(1), first[1:2]])
    ids = content_ids([first, second])
    assert ids[4] == ids[1]
    assert len(set(ids.tolist())) == 4


@pytest.mark.parametrize("how", ["jpeg", "scaled", "blurred", "darker"])
def test_saved_again_or_slightly_changed_is_almost_identical(how):
    first = photos(200)
    second = np.stack([*photos(100), *(changed(image, how) for image in first[:100])])
    assert len(found(first, second) & set(range(100, 200))) >= 95
    assert not found(first, second) & set(range(100))


def test_identical_different_and_flat_images_are_not_almost_identical():
    first = photos(40)
    assert found(first, first.copy()) == set()
    assert found(first, photos(40)) == set()
    flat = np.full((20, 48, 48, 3), 200, np.uint8)
    flat[np.arange(20), np.arange(20), 0] = 0
    assert found(flat[:10], flat[10:]) == set()


def test_images_too_small_to_tell_are_not_compared():
    assert found(photos(5, size=8), photos(5, size=8)) == set()


def test_groups_that_share_an_image_become_one():
    groups = np.array([0, 0, 1, 1, 2, 3])
    ids = np.array([0, 1, 1, 2, 3, 4])
    joined = united(groups, ids)
    assert joined[0] == joined[1] == joined[2] == joined[3]
    assert len({joined[0], joined[4], joined[5]}) == 3


def test_frames_of_one_film_are_found_however_many_there_are():
    random = np.random.default_rng(0)
    scene = np.kron(random.integers(30, 220, (9, 9)), np.ones((4, 4))).astype(np.int64)
    frames = scene[None] + random.integers(0, 2, (200, 36, 36))
    other = np.kron(random.integers(30, 220, (40, 9, 9)), np.ones((1, 4, 4)))
    train = np.concatenate([frames[:150], other[:20]]).astype(np.uint8)[..., None]
    test = np.concatenate([frames[150:], other[20:]]).astype(np.uint8)[..., None]
    ids = content_ids([train, test])
    found = almost_identical([train, test], [ids[: len(train)], ids[len(train) :]])
    assert found[1][0] == set(range(50))
