from __future__ import annotations

import numpy as np
import pytest

from tunecnn.data.images import Images, TrialData


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_mean_and_deviation_are_those_of_each_channel(channels):
    random = np.random.default_rng(0)
    tops = np.array([60, 120, 200, 255])[:channels]
    pixels = (random.random((30, 5, 7, channels)) * tops).astype(np.uint8)
    images = Images(pixels, np.zeros(30, np.int64))
    data = TrialData.measure("coloured", ("one",), images, images)
    assert data.mean == pytest.approx(pixels.mean((0, 1, 2)))
    assert data.deviation == pytest.approx(pixels.std((0, 1, 2)))
