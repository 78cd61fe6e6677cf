from __future__ import annotations

import errno
import shutil

import pytest

from tunecnn.errors import InputError, RunError
from tunecnn.run.artifacts import Artifacts
from tunecnn.run.folder import RunFolder, cannot_be_written, resume_command
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


@pytest.mark.parametrize(
    ("options", "line"),
    [((), ""), (("--local", "--confirm", "3x5"), " --local --confirm 3x5")],
)
def test_the_command_that_carries_on_has_the_options_of_the_last_session(
    options, line, scripted_run
):
    folder = RunFolder(scripted_run)
    info = folder.read_info()
    session = info.last_session.model_copy(update={"repeated": options})
    folder.write_info(info.model_copy(update={"sessions": (*info.sessions, session)}))
    full = cannot_be_written(scripted_run, OSError(errno.ENOSPC, "No space left on device"))
    assert str(full).endswith(f"carry on with: tunecnn search --resume {scripted_run}{line}")
    with pytest.raises(InputError, match="give another --name, or carry on with: ") as taken:
        RunFolder.check_free(scripted_run)
    assert str(taken.value).endswith(f"search --resume {scripted_run}{line}")


def test_there_is_a_command_for_a_run_that_cannot_be_read(tmp_path):
    (tmp_path / "run.json").write_text("{", encoding="utf-8")
    assert resume_command(tmp_path) == f"tunecnn search --resume {tmp_path}"
