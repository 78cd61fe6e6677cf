"""Each file that a later tunecnn may write otherwise says who wrote it, and that is checked."""

from __future__ import annotations

import json
import logging

import pytest

from tests.support.searching import TEXT, Silent, begin, carry_on
from tunecnn import load_run
from tunecnn.data.loading import read_arrays
from tunecnn.errors import RunError
from tunecnn.files import stamp
from tunecnn.run.info import SCHEMA, _checksum
from tunecnn.study.journal import JOURNAL, from_line, to_line
from tunecnn.workflows.repair import repair

LATER = {"schema": 99, "tunecnn": "9.9"}
ADVICE = "was written by tunecnn 9.9 with schema 99, and tunecnn "


def rewrite_run_json(path, **changes):
    values = {**json.loads(path.read_text()), **changes}
    del values["checksum"]
    path.write_text(json.dumps({"checksum": _checksum(values), **values}))


def test_a_run_of_another_schema_is_refused_by_name(scripted_run):
    rewrite_run_json(scripted_run / "run.json", **LATER)
    with pytest.raises(RunError) as caught:
        load_run(scripted_run)
    assert str(caught.value) == (
        f"{scripted_run}/run.json {ADVICE}{stamp(1)['tunecnn']} reads schema {SCHEMA} only; read "
        "it with that version: pip install tunecnn==9.9"
    )


def test_a_run_of_a_tunecnn_that_noted_no_version_is_refused(scripted_run):
    path = scripted_run / "run.json"
    values = json.loads(path.read_text())
    del values["tunecnn"]
    path.write_text(json.dumps({**values, "schema": 1}))
    with pytest.raises(RunError, match="by a tunecnn older than 0.2.0 with schema 1, and tunecnn"):
        load_run(scripted_run)


def test_a_value_that_was_changed_by_hand_is_seen(scripted_run):
    path = scripted_run / "run.json"
    path.write_text(path.read_text().replace('"digits"', '"digits "', 1))
    with pytest.raises(RunError, match="run.json is damaged: its checksum does not match"):
        load_run(scripted_run)


@pytest.mark.parametrize("text", ["[]", "3", "null", "{", '"run"'])
def test_a_file_that_is_no_record_of_a_run_is_refused(text, scripted_run):
    (scripted_run / "run.json").write_text(text)
    with pytest.raises(RunError, match=r"run.json cannot be read"):
        load_run(scripted_run)


def test_a_field_that_is_missing_is_named(scripted_run):
    path = scripted_run / "run.json"
    values = json.loads(path.read_text())
    rewrite_run_json(path, job={"type": "reproduction"}, sessions=values["sessions"])
    with pytest.raises(
        RunError, match=r"run.json is damaged: job.reproduction.against: Field req"
    ):
        load_run(scripted_run)


@pytest.mark.parametrize("read", [load_run, repair])
def test_a_journal_of_another_schema_is_refused_and_not_repaired(read, scripted_run):
    journal = scripted_run / JOURNAL
    first, *rest = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(to_line(1, {**from_line(first).log, **LATER}) + b"".join(rest))
    before = journal.read_bytes()
    with pytest.raises(RunError, match=f"{JOURNAL} {ADVICE}"):
        read(scripted_run)
    assert journal.read_bytes() == before


def test_a_repaired_journal_says_who_wrote_it(scripted_run):
    journal = scripted_run / JOURNAL
    first, *rest = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"-\n" + b"".join(rest))
    repair(scripted_run)
    line = from_line(journal.read_bytes().splitlines(keepends=True)[0])
    assert line.log.items() >= stamp(1).items()


def test_a_checkpoint_of_another_schema_is_not_used_and_the_trial_starts_again(
    tmp_path, monkeypatch
):
    text = TEXT.replace("epochs: 2", "epochs: 4").replace("trials: 3", "trials: 1")
    with monkeypatch.context() as patch:
        patch.setattr("tunecnn.trial.checkpoint.SCHEMA", 99)
        stopped = begin(tmp_path, text, Silent(raise_at=4), checkpoint_seconds=0.0)

    class Listener(Silent):
        reason = ""

        def on_trial_requeue(self, number, reason):
            self.reason = reason

    listener = Listener()
    assert carry_on(stopped.folder, listener).ending == "done"
    assert "checkpoint was written by tunecnn" in listener.reason
    assert "with schema 99" in listener.reason
    assert listener.epochs == 4


def test_an_image_cache_of_another_schema_is_made_anew(image_tree, caplog):
    tree = image_tree()
    first = read_arrays(f"imagefolder:{tree}")
    (index,) = tree.with_name(tree.name + ".tunecnn-cache").glob("*/index.json")
    index.write_text(json.dumps({**json.loads(index.read_text()), **LATER}))
    with caplog.at_level(logging.WARNING):
        again = read_arrays(f"imagefolder:{tree}")
    assert again.fingerprint() == first.fingerprint()
    assert ADVICE in caplog.text
    assert json.loads(index.read_text())["schema"] == 2
