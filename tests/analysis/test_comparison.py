from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.scripted import SPACE, ScriptedRun, evenly
from tunecnn.analysis.comparison import compare_runs

OTHER = "the runs have other validation images, so their accuracies cannot be compared"
FEWER = "the runs train on different numbers of images"


@pytest.mark.parametrize(
    ("setting", "train", "expected"),
    [
        ("train_images: 300", 300, [FEWER]),
        ("split_seed: 7", 1149, [OTHER]),
        ("flip: true", 1149, [OTHER]),
    ],
)
def test_fewer_training_images_leave_the_validation_images_as_they_are(
    setting, train, expected, tmp_path
):
    runs = []
    for name, text in (("all", SPACE), ("other", SPACE.replace("start:", f"  {setting}\nstart:"))):
        scripted = ScriptedRun(tmp_path / name, text)
        runs.append(scripted.train_all(lambda trial: 0.8))
    info = scripted.folder.read_info()
    sheet = replace(
        info.dataset.sheet, counts={**info.dataset.sheet.counts, "train": evenly(train)}
    )
    changed = {"train": train, "split_fingerprint": "another", "sheet": sheet}
    dataset = info.dataset.model_copy(update=changed)
    scripted.folder.write_info(info.model_copy(update={"dataset": dataset}))
    assert list(compare_runs([runs[0], scripted.load()]).warnings) == expected


def test_runs_that_classify_by_other_views_are_compared_with_a_warning(tmp_path):
    runs = []
    views = "  views: mirrored\n"
    for name, line in (("one", ""), ("two", views), ("again", views)):
        scripted = ScriptedRun(tmp_path / name, SPACE.replace("start:", f"{line}start:"))
        runs.append(scripted.train_all(lambda trial: 0.8))
    assert list(compare_runs(runs[:2]).warnings) == [
        "the runs classify by other views of an image, so their accuracies do not say which "
        "training is better"
    ]
    assert list(compare_runs(runs[1:]).warnings) == []


def test_the_frame_of_a_comparison_has_whole_numbers_beside_a_run_without_any(tmp_path):
    trained = ScriptedRun(tmp_path / "trained").train_all(lambda trial: 0.8)
    empty = ScriptedRun(tmp_path / "empty").load()
    types = compare_runs([trained, empty]).frame.dtypes.astype(str)
    assert types[["trial", "params"]].tolist() == ["Int64", "Int64"]
    assert types[["best", "confirmed"]].tolist() == ["float64", "float64"]
