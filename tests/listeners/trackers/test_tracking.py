"""Trackers that are slow, fail or hang, and real ones read back, beside runs without training."""

from __future__ import annotations

import math
import struct
import threading
import time
from pathlib import Path

import pytest

from tests.support.scripted import SPACE, ScriptedRun, metrics
from tunecnn import load_run
from tunecnn.errors import InputError
from tunecnn.listeners.trackers import tracking
from tunecnn.listeners.trackers.base import TrackedRun
from tunecnn.listeners.trackers.registry import Tracked, check_trackers
from tunecnn.run.listener import Listener
from tunecnn.summary.render import write_summary
from tunecnn.trial.messages import Outcome, TrialEnd


class Memory:
    """A tracker in memory; `fail` is called before each of its methods."""

    def __init__(self, fail=lambda: None):
        self.fail = fail
        self.epochs: dict[str, list[int]] = {}
        self.ended: dict[str, str] = {}
        self.opened: list[str | None] = []
        self.paused: list[str] = []
        self.ending = ""
        self.files: list[str] = []

    def open(self, run, key):
        self.fail()
        self.opened.append(key)
        return key or "search"

    def begin(self, record, key):
        self.fail()
        return key or f"t{record.number}"

    def log(self, key, epochs):
        self.fail()
        self.epochs.setdefault(key, []).extend(one.epoch for one in epochs)

    def pause(self, key):
        self.fail()
        self.paused.append(key)

    def end(self, key, record):
        self.fail()
        self.ended[key] = str(record.outcome)

    def close(self, key, ending, files):
        self.fail()
        self.ending, self.files = ending, [path.name for path in files]


class Warned(Listener):
    def __init__(self):
        self.texts: list[str] = []

    def on_warning(self, text):
        self.texts.append(text)


def tracked(run: ScriptedRun, tracker, listener=None, name="memory") -> Tracked:
    about = TrackedRun("id" * 16, "scripted", "Why?", run.path, {"space": "scripted"})
    return Tracked(listener or Listener(), [name], about, run.study, lambda _: tracker)


def train(run: ScriptedRun, listener: Listener, accuracy: float, epochs: int = 4) -> int:
    """Train a trial as the recorder does; with fewer epochs than the space's it stays running."""
    task = run.study.next_trial()
    listener.on_trial_start(task)
    for epoch in range(1, epochs + 1):
        one = metrics(epoch, accuracy + epoch / 100)
        run.study.report(task.number, one)
        listener.on_epoch(task.number, one)
        listener.on_tick()
    if epochs == run.space.epochs:
        run.study.finish(task.number, TrialEnd(Outcome.COMPLETE, kept_epoch=epochs))
        listener.on_trial_end(run.study.record(task.number))
    return task.number


def unpruned(path: Path) -> ScriptedRun:
    from tests.support.scripted import SPACE

    return ScriptedRun(path, SPACE.replace("{halving: {min_epochs: 1, factor: 2}}", "none"))


def test_a_tracker_gets_every_epoch_and_every_end_once(tmp_path):
    run, memory = unpruned(tmp_path / "run"), Memory()
    listener = tracked(run, memory)
    for accuracy in (0.5, 0.6, 0.7):
        train(run, listener, accuracy)
    write_summary(run.load())
    assert listener.finish("done") == []
    assert memory.epochs == {f"t{i}": [1, 2, 3, 4] for i in range(3)}
    assert memory.ended == {f"t{i}": "complete" for i in range(3)}
    assert memory.ending == "done"
    assert {"summary.md", "summary.html", "space.yaml", "curves.svg"} <= set(memory.files)


def test_what_failed_is_sent_again_at_the_end_with_one_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "_RETRY_SECONDS", 0.01)
    failing = True

    def fail():
        if failing:
            raise ConnectionError("no route\nto the tracker")

    run, memory, warned = unpruned(tmp_path / "run"), Memory(fail), Warned()
    listener = tracked(run, memory, warned)
    for accuracy in (0.5, 0.6):
        train(run, listener, accuracy)
        time.sleep(0.05)
        listener.on_tick()
    assert len(warned.texts) == 1
    assert (
        "memory does not take the run (ConnectionError: no route to the tracker)"
        in warned.texts[0]
    )
    failing = False
    assert listener.finish("done") == []
    assert memory.epochs == {"t0": [1, 2, 3, 4], "t1": [1, 2, 3, 4]}
    assert memory.ended == {"t0": "complete", "t1": "complete"}


@pytest.mark.parametrize("where", ["from the start", "at the end"])
def test_a_tracker_that_hangs_costs_the_search_nothing_but_a_word(where, tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "PATIENCE", 0.3)
    hang = threading.Event()

    def stall():
        if where == "from the start" or hang.is_set():
            threading.Event().wait(30)

    run = unpruned(tmp_path / "run")
    listener = tracked(run, Memory(stall))
    started = time.monotonic()
    train(run, listener, 0.5)
    assert time.monotonic() - started < 2
    hang.set()
    (text,) = listener.finish("done")
    assert time.monotonic() - started < 4
    assert "memory has not taken everything" in text
    assert f"send the rest later with: tunecnn search --resume {run.path}" in text


def test_a_tracker_that_fails_to_the_end_is_given_up_after_a_few_tries(tmp_path):
    def fail():
        raise PermissionError("log in first")

    run, warned = unpruned(tmp_path / "run"), Warned()
    listener = tracked(run, Memory(fail), warned)
    train(run, listener, 0.5)
    started = time.monotonic()
    problems = listener.finish("done")
    assert time.monotonic() - started < 6
    (why,) = [text for text in (*warned.texts, *problems) if "log in first" in text]
    assert "memory has not taken everything: 1 trial missing" in problems[-1]


def test_what_is_held_open_for_a_paused_trial_is_freed(tmp_path):
    """TensorBoard's writer has three file descriptors and two threads."""
    text = SPACE.replace("{halving: {min_epochs: 1, factor: 2}}", "{promotion: {min_epochs: 1}}")
    run, memory = ScriptedRun(tmp_path / "run", text), Memory()
    listener = tracked(run, memory)
    train(run, listener, 0.9)  # the baseline, which is never paused
    task = run.study.next_trial()
    listener.on_trial_start(task)
    assert run.study.report(task.number, metrics(1, 0.5))
    listener.on_trial_pause(run.study.record(task.number))
    assert listener.finish("interrupted") == []
    assert memory.paused == ["t1"]
    assert memory.epochs["t1"] == [1]


def test_a_trial_that_a_tracker_refuses_keeps_nothing_else_back(tmp_path, monkeypatch):
    """As one whose run has been deleted in the tracker's own page."""
    monkeypatch.setattr(tracking, "_RETRY_SECONDS", 0.01)

    class Refuses(Memory):
        def log(self, key, epochs):
            if key == "t0":
                raise ValueError("t0 was deleted")
            super().log(key, epochs)

    run, memory, warned = unpruned(tmp_path / "run"), Refuses(), Warned()
    listener = tracked(run, memory, warned)
    for accuracy in (0.5, 0.6, 0.7):
        train(run, listener, accuracy)
    problems = listener.finish("done")
    assert memory.ended == {"t1": "complete", "t2": "complete"}
    assert memory.ending == "done"
    assert "memory has not taken everything: 1 trial missing; send the rest" in problems[-1]


def test_a_resumed_run_continues_the_same_keys_and_repeats_no_ended_trial(tmp_path):
    run, first = unpruned(tmp_path / "run"), Memory()
    listener = tracked(run, first)
    train(run, listener, 0.5)
    half = train(run, listener, 0.6, epochs=2)
    assert listener.finish("interrupted") == []
    run.reopen()
    second = Memory()
    listener = tracked(run, second)
    task = run.study.next_trial()
    assert task.number == half
    assert run.study.go_on_from(task, 1)  # its checkpoint is older than its last epoch
    listener.on_trial_start(task)
    for epoch in (2, 3, 4):
        run.study.report(half, metrics(epoch, 0.6))
        listener.on_epoch(half, metrics(epoch, 0.6))
    run.study.finish(half, TrialEnd(Outcome.COMPLETE, kept_epoch=4))
    listener.on_trial_end(run.study.record(half))
    assert listener.finish("done") == []
    assert second.opened == ["search"]
    assert first.epochs == {"t0": [1, 2, 3, 4], "t1": [1, 2]}
    assert "t0" not in second.epochs
    assert second.epochs["t1"][-3:] == [2, 3, 4]
    assert second.ended == {"t1": "complete"}


def test_a_tracker_that_fails_is_left_alone_for_a_while(tmp_path):
    calls = []

    def fail():
        calls.append(None)
        raise ConnectionError("no route")

    run = unpruned(tmp_path / "run")
    listener = tracked(run, Memory(fail))
    for accuracy in (0.5, 0.6, 0.7):
        train(run, listener, accuracy)
    time.sleep(0.2)
    assert len(calls) == 1  # whatever happens in the run meanwhile


def test_a_tracker_that_begins_anew_gets_the_earlier_trials_too(tmp_path):
    run, first = unpruned(tmp_path / "run"), Memory()
    listener = tracked(run, first)
    train(run, listener, 0.5)
    assert listener.finish("interrupted") == []
    run.reopen()

    class Other(Memory):
        def open(self, run, key):
            return "another server's"

    other = Other()
    listener = tracked(run, other)
    train(run, listener, 0.6)
    assert listener.finish("done") == []
    assert other.epochs == {"t0": [1, 2, 3, 4], "t1": [1, 2, 3, 4]}
    assert other.ended == {"t0": "complete", "t1": "complete"}


@pytest.mark.parametrize(
    "content", ["", "[]", '{"trials": 3}', "\x00", '{"key": 1, "trials": {"0": 1}}']
)
def test_a_damaged_note_of_what_was_sent_costs_only_a_second_sending(content, tmp_path):
    run, memory = unpruned(tmp_path / "run"), Memory()
    (run.path / "trackers").mkdir()
    (run.path / "trackers" / "memory.json").write_text(content)
    listener = tracked(run, memory)
    train(run, listener, 0.5)
    assert listener.finish("done") == []
    assert memory.epochs == {"t0": [1, 2, 3, 4]}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["comet"], "--track comet is not known"),
        (["wandb:x"], "--track wandb:x is not known"),
        (["mlflow", "mlflow:sqlite:///x"], "--track mlflow is given twice"),
    ],
)
def test_a_wrong_tracker_is_refused_before_anything_runs(names, words):
    with pytest.raises(InputError, match=words):
        check_trackers(names)


def frames_of(run: ScriptedRun):
    found = load_run(run.path)
    epochs = found.epochs.set_index(["trial", "epoch"])
    return found.trials.set_index("trial"), epochs


def two_sessions(path: Path, name: str) -> ScriptedRun:
    """A run that was interrupted within a trial, resumed and tracked in both sessions."""
    run = unpruned(path)
    about = TrackedRun("0123456789abcdef" * 2, "scripted", "Why?", run.path, {"space": "s"})
    listener = Tracked(Listener(), [name], about, run.study)
    train(run, listener, 0.5)
    half = train(run, listener, 0.6, epochs=2)
    assert listener.finish("interrupted") == []
    run.reopen()
    listener = Tracked(Listener(), [name], about, run.study)
    task = run.study.next_trial()
    run.study.go_on_from(task, 1)
    listener.on_trial_start(task)
    for epoch in (2, 3, 4):
        run.study.report(half, metrics(epoch, 0.7))
        listener.on_epoch(half, metrics(epoch, 0.7))
    run.study.finish(half, TrialEnd(Outcome.COMPLETE, kept_epoch=4))
    listener.on_trial_end(run.study.record(half))
    bad = train(run, listener, 0.2, epochs=1)
    run.study.finish(bad, TrialEnd(Outcome.DIVERGED, reason="the loss is not finite"))
    listener.on_trial_end(run.study.record(bad))
    write_summary(run.load())
    assert listener.finish("done") == []
    return run


def test_tensorboard_holds_what_the_frames_hold(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = two_sessions(tmp_path / "run", "tensorboard")
    trials, epochs = frames_of(run)
    for number, trial in trials.iterrows():
        events = EventAccumulator(str(run.path / "tensorboard" / f"trial-{number:05d}"))
        events.Reload()
        last = {event.step: event.value for event in events.Scalars("val_accuracy")}
        assert last == pytest.approx(epochs.loc[number]["val_accuracy"].to_dict())
        (final,) = events.Scalars("final_val_accuracy")
        assert final.value == pytest.approx(trial["val_accuracy"])


@pytest.mark.slow
def test_mlflow_holds_what_the_frames_hold(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
    monkeypatch.chdir(tmp_path)  # where MLflow puts the artefacts
    uri = f"sqlite:///{tmp_path / 'store.db'}"
    run = two_sessions(tmp_path / "run", f"mlflow:{uri}")
    trials, epochs = frames_of(run)
    client = MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name("tunecnn").experiment_id])
    (search,) = [one for one in found if "mlflow.parentRunId" not in one.data.tags]
    children = {int(one.data.tags["trial"]): one for one in found if one is not search}
    assert all(
        one.data.tags["mlflow.parentRunId"] == search.info.run_id for one in children.values()
    )
    assert search.info.status == "FINISHED"
    assert {path.path for path in client.list_artifacts(search.info.run_id)} >= {
        "summary.html",
        "summary.md",
        "figures",
        "space.yaml",
    }
    assert children.keys() == set(trials.index)
    for number, trial in trials.iterrows():
        one = children[number]
        history = client.get_metric_history(one.info.run_id, "val_accuracy")
        last = {entry.step: entry.value for entry in sorted(history, key=lambda e: e.timestamp)}
        assert last == pytest.approx(epochs.loc[number]["val_accuracy"].to_dict())
        assert one.data.metrics["final_val_accuracy"] == pytest.approx(trial["val_accuracy"])
        assert one.data.tags["outcome"] == trial["outcome"]
        assert one.data.params["net.width"] == str(trial["param.net.width"])
        assert one.info.status == ("FINISHED" if trial["state"] == "COMPLETE" else "FAILED")


@pytest.mark.slow
def test_mlflow_gets_one_run_however_often_it_fails_and_another_server_gets_all(
    tmp_path, monkeypatch
):
    pytest.importorskip("mlflow")
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
    monkeypatch.setattr(tracking, "_RETRY_SECONDS", 0.01)
    monkeypatch.chdir(tmp_path)
    log_batch, failures = MlflowClient.log_batch, iter(range(2))

    def sometimes(*args, **kwargs):
        if next(failures, None) is not None:
            raise MlflowException("busy")
        return log_batch(*args, **kwargs)

    monkeypatch.setattr(MlflowClient, "log_batch", sometimes)
    run = unpruned(tmp_path / "run")
    about = TrackedRun("0123456789abcdef" * 2, "scripted", "Why?", run.path, {"space": "s"})
    for store in ("first", "second"):
        uri = f"sqlite:///{tmp_path / store}.db"
        listener = Tracked(Listener(), [f"mlflow:{uri}"], about, run.study)
        train(run, listener, 0.5)
        assert not [text for text in listener.finish("interrupted") if "has not taken" in text]
        client = MlflowClient(uri)
        found = client.search_runs([client.get_experiment_by_name("tunecnn").experiment_id])
        names = sorted(one.info.run_name for one in found)
        expected = ["scripted", "trial-00000", "trial-00001"]
        assert names == (expected[:2] if store == "first" else expected)


@pytest.mark.slow
def test_wandb_holds_what_the_frames_hold(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(tracking, "PATIENCE", 60.0)
    run = two_sessions(tmp_path / "run", "wandb")
    trials, epochs = frames_of(run)
    history, summary = offline_files(run.path / "trackers" / "wandb")
    for number, trial in trials.iterrows():
        (key,) = [key for key in summary if key.endswith(f"-{number}")]
        last = {int(row["epoch"]): row["val_accuracy"] for row in history[key] if "epoch" in row}
        assert last == pytest.approx(epochs.loc[number]["val_accuracy"].to_dict())
        assert summary[key]["final_val_accuracy"] == pytest.approx(trial["val_accuracy"])
        assert summary[key]["outcome"] == trial["outcome"]


def offline_files(folder: Path):
    """The history and the summary of each run in W&B's files, by the id of the run."""
    import json

    from wandb.proto import wandb_internal_pb2

    history: dict[str, list[dict]] = {}
    summary: dict[str, dict] = {}
    for path in sorted(folder.glob("offline-run-*/*.wandb"), key=lambda one: one.stat().st_mtime):
        key = path.stem.removeprefix("run-")
        for data in logged(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            kind = record.WhichOneof("record_type")
            if kind == "history":
                row = {
                    item.key or ".".join(item.nested_key): json.loads(item.value_json)
                    for item in record.history.item
                }
                history.setdefault(key, []).append(row)
            elif kind == "summary":
                for item in record.summary.update:
                    name = item.key or ".".join(item.nested_key)
                    summary.setdefault(key, {})[name] = json.loads(item.value_json)
    return history, summary


def logged(content: bytes):
    """The entries of a log in LevelDB's format, behind W&B's header of seven bytes."""
    block, header = 32768, 7
    at, entry = header, b""
    while at < len(content):
        if block - at % block < header:
            at += block - at % block
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + header])
        entry += content[at + header : at + header + length]
        at += header + length
        if kind in (1, 4):  # whole, or its last part
            yield entry
            entry = b""


def test_numbers_that_no_tracker_takes_are_left_out():
    from tunecnn.listeners.trackers.base import metrics_of

    assert "val_balanced_accuracy" not in metrics_of(metrics(1, 0.5))
    assert all(math.isfinite(value) for value in metrics_of(metrics(1, 0.5)).values())
