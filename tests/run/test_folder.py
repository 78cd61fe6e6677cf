from __future__ import annotations

import shutil

import pytest

from tunecnn.errors import RunError
from tunecnn.run.artifacts import Artifacts
from tunecnn.run.folder import RunFolder
from tunecnn.trial.messages import Outcome, TrialEnd


@pytest.mark.parametrize(
    "name", ["figures", "study.journal", ".lock", "confirmations", "run.json"]
)
def test_no_link_inside_a_run_is_followed(name, scripted_run, tmp_path):
    outside = tmp_path / "outside"
    if (scripted_run / name).exists():
        shutil.move(scripted_run / name, outside)
    else:
        outside.mkdir()
    (scripted_run / name).symlink_to(outside)
    with pytest.raises(RunError, match=rf"/{name} is a symbolic link"):
        RunFolder.open(scripted_run)


def test_strangers_among_the_weights_are_left_alone(tmp_path):
    warnings: list[str] = []
    artifacts = Artifacts(tmp_path, warnings.append)
    artifacts.write_files(3, end=TrialEnd(Outcome.COMPLETE, 1, weights=b"weights"))
    weights = tmp_path / "weights"
    for name in ("trial-00000 (copy).safetensors", "trial-٣.safetensors", "notes.txt", "trial-3"):
        (weights / name).touch()
    assert artifacts.trials_with_weights() == [3]
    assert len(warnings) == 4
    assert all("is not the name of a trial's weights" in text for text in warnings)
    artifacts.drop_weights(3)
    assert len(list(weights.iterdir())) == 4
