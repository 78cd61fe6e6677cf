from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tunecnn.data.images import Images, TrialData
from tunecnn.trial.batches import Batcher, evaluation_batch, images_to_device, to_device
from tunecnn.trial.config import TrialConfig


@pytest.fixture
def ramp() -> TrialData:
    """Ten 5x6 images in two colours; each pixel tells its image, row, column and channel."""
    n, h, w, c = torch.meshgrid(*(torch.arange(k) for k in (10, 5, 6, 2)), indexing="ij")
    pixels = (n * 20 + h * 3 + w + c * 10).to(torch.uint8).numpy()
    images = Images(pixels, torch.arange(10).numpy())
    return TrialData.measure("ramp", tuple("0123456789"), images, images)


def batcher(data: TrialData, **settings) -> Batcher:
    return Batcher(TrialConfig(batch_size=4, **settings), to_device(data, torch.device("cpu")))


def epoch(made: Batcher) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for values, targets in map(made.batch, made.order()):
        yield values, targets.labels


def in_order(made: Batcher, data: TrialData) -> torch.Tensor:
    images = images_to_device(data.validation, torch.device("cpu"))
    return torch.cat([made.scaling(pixels) for pixels, _ in made.evaluation(images)])


def test_an_epoch_has_every_image_once_and_keeps_the_last_batch(ramp):
    made = batcher(ramp, pixels="raw")
    sizes, seen = [], []
    for images, labels in epoch(made):
        sizes.append(len(labels))
        seen += labels.tolist()
        assert torch.equal(
            images.to(torch.uint8).permute(0, 2, 3, 1), torch.from_numpy(ramp.train.pixels)[labels]
        )
    assert sizes == [4, 4, 2]
    assert made.steps == 3
    assert sorted(seen) == list(range(10))


def test_each_epoch_has_its_own_order(ramp):
    made = batcher(ramp)
    orders = {tuple(torch.cat([labels for _, labels in epoch(made)]).tolist()) for _ in "12345"}
    assert len(orders) == 5


@pytest.mark.parametrize(
    ("pixels", "low", "high"), [("raw", 0.0, 255.0), ("unit", 0.0, 1.0), ("standardized", -4, 4)]
)
def test_pixels_are_scaled_as_the_config_says(pixels, low, high, ramp):
    images = in_order(batcher(ramp, pixels=pixels), ramp)
    assert low <= images.min() < images.max() <= high
    if pixels == "unit":
        bytes_ = torch.from_numpy(ramp.train.pixels).permute(0, 3, 1, 2)
        assert torch.allclose(images, bytes_ / 255)
    if pixels == "standardized":
        assert images.mean(dim=(0, 2, 3)).abs().max() < 1e-5
        assert (images.std(dim=(0, 2, 3), correction=0) - 1).abs().max() < 1e-5


@pytest.mark.parametrize("pixels", ["raw", "unit", "standardized"])
def test_bfloat16_values_are_the_others_rounded(pixels, ramp):
    made = batcher(ramp, pixels=pixels)
    expected = in_order(made, ramp)
    made.scaling.in_bf16 = True
    values = in_order(made, ramp)
    assert values.dtype == torch.bfloat16
    assert values.is_contiguous(memory_format=torch.channels_last)
    # Both round once; the sum before it may be fused with its product or not.
    torch.testing.assert_close(values, expected.bfloat16(), rtol=2**-7, atol=1e-6)


def test_batches_are_channels_last(ramp):
    images, _ = next(epoch(batcher(ramp)))
    assert images.shape == (4, 2, 5, 6)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_a_mirrored_image_is_the_image_or_its_mirror(ramp):
    kinds = set()
    for images, labels in epoch(batcher(ramp, pixels="raw", flip=True)):
        for image, label in zip(images, labels, strict=True):
            original = torch.from_numpy(ramp.train.pixels[label]).permute(2, 0, 1).float()
            plain, mirrored = torch.equal(image, original), torch.equal(image, original.flip(2))
            assert plain or mirrored
            kinds.add(plain)
    assert kinds == {True, False}


def mirrored(made: Batcher, data: TrialData, number: int) -> dict[int, bool]:
    """Return of each image whether it is mirrored in an epoch."""
    found = {}
    for images, targets in map(made.batch, made.order(number)):
        labels = targets.labels
        for image, label in zip(images, labels, strict=True):
            original = torch.from_numpy(data.train.pixels[label]).permute(2, 0, 1).float()
            found[int(label)] = not torch.equal(image, original)
            assert torch.equal(image, original.flip(2) if found[int(label)] else original)
    return found


def test_an_alternate_flip_mirrors_each_image_in_every_other_epoch(ramp):
    made = batcher(ramp, pixels="raw", flip=True, alternate_flip=True)
    first, second, third = (mirrored(made, ramp, number) for number in range(3))
    assert set(first.values()) == {True, False}
    assert first == third == {image: not is_mirrored for image, is_mirrored in second.items()}
    again = batcher(ramp, pixels="raw", flip=True, alternate_flip=True)
    assert mirrored(again, ramp, 1) == second  # as a training does that goes on there
    others = [batcher(ramp, pixels="raw", flip=True, alternate_flip=True, seed=s) for s in (1, 2)]
    assert any(mirrored(other, ramp, 0) != first for other in others)


@pytest.mark.parametrize(("share", "side"), [(0.1, 1), (0.4, 2), (0.6, 3), (0.99, 5)])
def test_a_cutout_is_a_square_of_the_mean_colour_anywhere_in_the_image(share, side, ramp):
    made = batcher(ramp, pixels="raw", cutout=share)
    mean = torch.tensor(ramp.mean).round()
    sizes, places = set(), set()
    for _ in range(60):
        for images, labels in epoch(made):
            for image, label in zip(images, labels, strict=True):
                original = torch.from_numpy(ramp.train.pixels[label]).permute(2, 0, 1).float()
                cut = (image == mean[:, None, None]).all(dim=0)
                assert torch.equal(image[:, ~cut], original[:, ~cut])
                changed = (image != original).any(dim=0).nonzero()
                if len(changed):
                    low, high = changed.min(dim=0).values, changed.max(dim=0).values
                    sizes.update((high - low + 1).tolist())
                    places.update(map(tuple, changed.tolist()))
    assert max(sizes) == side
    assert places == {(row, column) for row in range(5) for column in range(6)}


def test_a_cutout_is_zero_for_the_network_once_pixels_are_standardized():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    images = Images(pixels, np.arange(40))
    data = TrialData.measure("noise", tuple(map(str, range(40))), images, images)
    values, _ = next(epoch(batcher(data, pixels="standardized", cutout=0.99)))
    assert (values.abs() < 0.01).all(dim=1).float().mean() > 0.3


def rectangle(changed: torch.Tensor) -> tuple[int, int, int, int]:
    """Return the first and the last row and column of the pixels that are True."""
    low, high = changed.nonzero().min(dim=0).values, changed.nonzero().max(dim=0).values
    return tuple(torch.stack([low, high]).T.flatten().tolist())


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_rectangle_of_another_image_of_the_batch_is_pasted(share, ramp):
    torch.manual_seed(0)
    made = batcher(ramp, pixels="raw", cutmix=share)
    originals = torch.from_numpy(ramp.train.pixels).permute(0, 3, 1, 2).float()
    places, areas, pairs = set(), [], set()
    for _ in range(round(400 / share)):
        for values, targets in map(made.batch, made.order()):
            for image, label, other, part in zip(
                values, targets.labels, targets.others, targets.pasted, strict=True
            ):
                pasted = (image != originals[label]).any(dim=0)
                assert torch.equal(image[:, pasted], originals[other][:, pasted])
                assert part.item() == pytest.approx(pasted.float().mean().item())
                areas.append(part.item())
                if pasted.any():
                    top, bottom, left, right = rectangle(pasted)
                    assert pasted[top : bottom + 1, left : right + 1].all()
                    places.add((top, left))
                    pairs.add((label.item(), other.item()))
    assert places == {(row, column) for row in range(5) for column in range(6)}
    assert len(pairs) == 90  # each image over each other
    count, mixed = len(areas), sum(area > 0 for area in areas)
    assert 0.7 * share * count < mixed < 1.05 * share * count
    # A half of the area on average, and a part of that is outside.
    assert 0.2 < sum(areas) / mixed < 0.4
    assert max(areas) > 0.95


def test_a_batch_of_one_image_is_pasted_over_by_itself(ramp):
    made = batcher(ramp, pixels="raw", cutmix=1.0)
    values, targets = made.batch(torch.tensor([3]))
    assert torch.equal(values[0].permute(1, 2, 0), torch.from_numpy(ramp.train.pixels[3]).float())
    assert targets.labels.tolist() == targets.others.tolist() == [3]


@pytest.mark.parametrize(("crop", "most"), [(0.0, 0), (0.01, 1), (0.0625, 1), (0.25, 2)])
def test_a_small_shift_of_a_small_image_is_one_pixel(crop, most):
    columns = np.broadcast_to(np.arange(8, dtype=np.uint8)[:, None], (200, 8, 8, 1)).copy()
    images = Images(columns, np.arange(200) % 2)
    data = TrialData.measure("columns", ("a", "b"), images, images)
    values = torch.cat([batch for batch, _ in epoch(batcher(data, pixels="raw", crop=crop))])
    assert set((values[:, 0, 4, 4] - 4).int().tolist()) == set(range(-most, most + 1))


def test_a_shifted_image_is_a_window_of_the_reflected_one(ramp):
    padded = torch.nn.functional.pad(
        torch.from_numpy(ramp.train.pixels).permute(0, 3, 1, 2).float(), (2, 2, 2, 2), "reflect"
    )
    torch.manual_seed(0)
    shifts = set()
    made = batcher(ramp, pixels="raw", crop=0.4)
    for _ in range(40):
        for images, labels in epoch(made):
            for image, label in zip(images, labels, strict=True):
                windows = padded[label].unfold(1, 5, 1).unfold(2, 6, 1)
                matches = (windows == image[:, None, None]).all(dim=(0, 3, 4)).nonzero()
                assert len(matches) >= 1
                shifts.update(map(tuple, matches.tolist()))
    assert {(0, 0), (4, 4), (2, 2)} <= shifts


def test_validation_is_in_order_and_never_augmented(ramp):
    made = batcher(ramp, pixels="raw", flip=True, crop=0.4)
    images = in_order(made, ramp)
    assert torch.equal(
        images, torch.from_numpy(ramp.validation.pixels).permute(0, 3, 1, 2).float()
    )


def test_a_constant_channel_is_not_divided_by_zero():
    images = Images(np.full((4, 3, 3, 1), 7, np.uint8), np.arange(4))
    data = TrialData.measure("flat", ("a", "b", "c", "d"), images, images)
    values, _ = next(epoch(batcher(data, pixels="standardized")))
    assert torch.isfinite(values).all()


@pytest.mark.parametrize(
    ("size", "batch_size", "expected"),
    [(8, 16, 500), (64, 16, 500), (128, 16, 125), (224, 16, 40), (512, 64, 64), (224, 2000, 500)],
)
def test_fewer_large_images_are_evaluated_at_once(size, batch_size, expected):
    assert evaluation_batch(batch_size, size, size) == expected
