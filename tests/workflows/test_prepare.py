from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tunecnn.errors import InputError
from tunecnn.workflows.prepare import prepare


@pytest.fixture
def photos(tmp_path):
    for label in "ab":
        for group in range(4):
            folder = tmp_path / "photos" / label / f"group{group}"
            folder.mkdir(parents=True)
            for number in range(3):
                pixels = np.full((6, 9, 3), 20 * group + number, np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return f"imagefolder:{tmp_path / 'photos'}"


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("fit: pad", {"size": 32}),
        ("scale: 1.0", {}),
        ("groups: folder", {}),
        ("pruner: {promotion: {min_epochs: 3}}\nepochs: 2", {"epochs": 9}),
    ],
)
def test_a_space_is_checked_as_it_is_searched_with_all_changes(text, changes, photos, tmp_path):
    """What the file lacks on its own, the command line may give."""
    (tmp_path / "s.yaml").write_text(text)
    prepared = prepare(str(tmp_path / "s.yaml"), {"dataset": photos, **changes})
    assert prepared.space.dataset == photos
    assert prepared.text == text
    assert all(getattr(prepared.space, key) == value for key, value in changes.items())


def test_fewer_epochs_than_the_pruner_needs_are_a_warning(tmp_path):
    (tmp_path / "s.yaml").write_text("dataset: digits\npruner: {promotion: {min_epochs: 3}}\n")
    (warning,) = prepare(str(tmp_path / "s.yaml"), {"epochs": 2}).space.warnings()
    assert "leaves no rung" in warning


def test_a_mistake_of_the_command_line_has_no_line_of_the_file(tmp_path):
    (tmp_path / "s.yaml").write_text("name: s\nepochs: 5\ndataset: digits\n")
    with pytest.raises(InputError) as caught:
        prepare(str(tmp_path / "s.yaml"), {"epochs": 0})
    assert str(caught.value) == "epochs: must be 1 or more, not 0"
    (tmp_path / "s.yaml").write_text("name: s\nfit: pad\ndataset: imagefolder:x\n")
    with pytest.raises(InputError, match=r"s\.yaml:2: fit: 'pad' has no effect without size"):
        prepare(str(tmp_path / "s.yaml"), {"dataset": "imagefolder:x"})
