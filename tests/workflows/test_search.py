from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest

import tunecnn.workflows.resources
from tests.support.command import main
from tests.support.scripted import metrics
from tests.support.searching import TEXT, Silent, begin, carry_on, listening_to
from tests.support.trees import picture, save
from tunecnn import load_run
from tunecnn.analysis.search import summarize_search
from tunecnn.engines.local import LocalEngine
from tunecnn.errors import InputError, RunError
from tunecnn.run.folder import RunFolder, resume_command
from tunecnn.run.info import ReproductionJob
from tunecnn.run.lock import Holder
from tunecnn.space.library import shipped_spaces
from tunecnn.study.journal import from_line, to_line
from tunecnn.summary.render import write_summary
from tunecnn.trial.environment import versions
from tunecnn.trial.messages import Outcome, TrialEnd, TrialUpdate
from tunecnn.trial.training import Training
from tunecnn.workflows.options import RunOptions
from tunecnn.workflows.prepare import prepare
from tunecnn.workflows.search import resume, search


def test_a_search_ends_with_a_run_that_can_be_read(tmp_path):
    result = begin(tmp_path)
    assert result.ending == "done"
    run = load_run(result.folder)
    assert run.trials["state"].tolist() == ["COMPLETE"] * 3
    assert run.info.dataset.train == 200
    assert run.info.evaluations == ()
    assert run.info.sessions[0].ending == "done"
    assert (result.folder / "summary.md").is_file()
    assert (result.folder / "summary.html").is_file()
    kept = sorted(path.name for path in (result.folder / "weights").iterdir())
    assert kept == [f"trial-0000{n}.safetensors" for n in range(3)]


def test_a_run_can_be_read_and_summarized_while_it_goes_on(tmp_path):
    class Reader(Silent):
        def on_epoch(self, number, metrics):
            super().on_epoch(number, metrics)
            if self.epochs == 3:
                folder = tmp_path / "quick"
                with (folder / "study.journal").open("ab") as stream:
                    stream.write(b'{"half a line')  # as a reader elsewhere may find it
                run = load_run(folder)
                self.seen = [record.state for record in run.records], len(run.epochs)
                self.verdict = write_summary(run).verdict

    reader = Reader()
    result = begin(tmp_path, listener=reader)
    assert reader.seen == (["COMPLETE", "RUNNING"], 3)
    assert "trial 0" in reader.verdict
    assert load_run(result.folder).trials["state"].tolist() == ["COMPLETE"] * 3


class Tripwire:
    """Test images that nobody may look at; there are 360 of them, so much may be known."""

    def __len__(self) -> int:
        return 360

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"somebody read the {name} of the test images")


@pytest.fixture
def tripwire(monkeypatch):
    load = tunecnn.workflows.resources.load_dataset
    monkeypatch.setattr(
        "tunecnn.workflows.resources.load_dataset",
        lambda *a, **k: dataclasses.replace(load(*a, **k), test=Tripwire()),
    )


PRUNED = TEXT.replace("trials: 3", "trials: 6").replace("epochs: 2", "epochs: 4")


def test_no_search_reads_the_test_images(tmp_path, tripwire):
    stopped = begin(tmp_path, PRUNED + "pruner: {halving: {factor: 2}}\n", Silent(raise_at=7))
    assert stopped.ending == "interrupted"
    result = carry_on(stopped.folder, more_trials=2)
    write_summary(load_run(result.folder))
    assert set(load_run(result.folder).trials["state"]) == {"COMPLETE", "PRUNED"}


def test_the_tripwire_is_there(tmp_path, tripwire):
    with pytest.raises(RunError, match="somebody read the pixels of the test images"):
        begin(tmp_path, job=ReproductionJob(against=None))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=[pytest.mark.slow] * (name in ("model1.yaml", "model2.yaml", "proposed.yaml")),
        )
        for name in shipped_spaces()
    ],
)
def test_every_shipped_space_can_be_searched(name, tmp_path):
    text = shipped_spaces()[name].read_text()
    result = begin(tmp_path, text, dataset="digits", epochs=1, trials=1)
    assert result.ending == "done"
    assert load_run(result.folder).trials["state"].tolist() == ["COMPLETE"]


def test_the_kept_weights_are_those_of_the_trial(tmp_path, digits):
    import torch

    from tunecnn.data.loading import load_dataset
    from tunecnn.trial.trained import load_model
    from tunecnn.workflows.evaluate import scores

    result = begin(tmp_path, trials=1)
    run = load_run(result.folder)
    data = load_dataset(run.config(0).dataset, run.config(0).data_split).trial_data
    model = load_model(result.folder / "weights/trial-00000.safetensors")
    accuracy, loss, _ = scores(model.logits(data.validation.pixels), data.validation.labels)
    assert accuracy == run.best["val_accuracy"]
    assert loss == pytest.approx(run.best["val_loss"], rel=1e-5)
    assert torch.get_num_threads() == 1


def test_an_interrupted_search_is_summarized_and_goes_on_where_it_was(tmp_path):
    result = begin(tmp_path, listener=Silent(raise_at=4))
    assert result.ending == "interrupted"
    assert "waiting | 1" in (result.folder / "summary.md").read_text()
    before = load_run(result.folder).trials
    assert before["state"].tolist() == ["COMPLETE", "WAITING"]

    assert carry_on(result.folder).ending == "done"
    after = load_run(result.folder).trials
    assert after["state"].tolist() == ["COMPLETE"] * 3
    assert after.iloc[0].equals(before.iloc[0])
    assert after["attempts"].tolist() == [1, 2, 1]
    assert [session.ending for session in load_run(result.folder).info.sessions] == [
        "interrupted",
        "done",
    ]


def test_an_interrupted_trial_goes_on_from_its_checkpoint_to_the_same_figures(tmp_path):
    text = TEXT.replace("epochs: 2", "epochs: 5").replace("trials: 3", "trials: 1")
    whole = load_run(begin(tmp_path / "whole", text).folder).epochs
    parts = begin(tmp_path / "parts", text, Silent(raise_at=4), checkpoint_seconds=0.0)
    _, newest = sorted((parts.folder / "checkpoints").iterdir())
    assert newest.name.startswith("trial-00000-epoch-00003-")
    listener = Silent()
    assert carry_on(parts.folder, listener).ending == "done"
    assert listener.epochs == 2
    together = load_run(parts.folder)
    figures = [name for name in whole if name != "seconds"]
    assert together.epochs[figures].equals(whole[figures])
    assert together.trials["attempts"].tolist() == [2]
    assert not list((parts.folder / "checkpoints").iterdir())


def test_a_trial_whose_checkpoint_is_damaged_begins_again(tmp_path):
    text = TEXT.replace("epochs: 2", "epochs: 4").replace("trials: 3", "trials: 1")
    stopped = begin(tmp_path, text, Silent(raise_at=4), checkpoint_seconds=0.0)
    for checkpoint in (stopped.folder / "checkpoints").iterdir():
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    listener = Silent()
    assert carry_on(stopped.folder, listener).ending == "done"
    run = load_run(stopped.folder)
    assert run.trials["state"].tolist() == ["COMPLETE"]
    assert listener.epochs == len(run.epochs) == 4


def test_the_same_space_and_seed_give_the_same_trials(tmp_path):
    first, second = begin(tmp_path / "a").folder, begin(tmp_path / "b").folder
    columns = ["seed", "val_accuracy", "val_loss", "param.net.width"]
    assert load_run(first).trials[columns].equals(load_run(second).trials[columns])
    other = begin(tmp_path / "c", seed=1).folder
    assert not load_run(first).trials[columns].equals(load_run(other).trials[columns])


def test_what_the_command_line_changed_stays_changed_on_resume(tmp_path):
    result = begin(tmp_path, listener=Silent(raise_at=1), epochs=1, trials=2)
    carry_on(result.folder)
    trials = load_run(result.folder).trials
    assert trials["epochs"].tolist() == [1, 1]


def test_a_resume_with_another_torch_is_refused_unless_told_otherwise(tmp_path, monkeypatch):
    result = begin(tmp_path, listener=Silent(raise_at=1))
    was = versions()
    now = {**was, "torch": "9.9", "optuna": "9.8"}
    for module in ("search", "session"):
        monkeypatch.setattr(f"tunecnn.workflows.{module}.versions", lambda _: now)
    with pytest.raises(InputError, match=rf"changed \(torch {was['torch']} then, 9.9 now\)"):
        carry_on(result.folder)
    listener = Silent()
    assert carry_on(result.folder, listener, allow_changes=True).ending == "done"
    (warning,) = listener.warnings
    assert f"optuna {was['optuna']} then, 9.8 now" in warning


def test_the_lock_of_a_killed_session_is_taken_over_and_said(tmp_path):
    result = begin(tmp_path, listener=Silent(raise_at=1))
    holder = dataclasses.replace(Holder.here(), process=2**22 + 1)
    (result.folder / ".holder").write_text(json.dumps(dataclasses.asdict(holder)))
    listener = Silent()
    carry_on(result.folder, listener)
    assert f"the lock of process {2**22 + 1} on" in listener.warnings[0]


def test_no_trial_begins_on_a_full_disk(tmp_path, monkeypatch):
    result = begin(tmp_path, listener=Silent(raise_at=1))
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=4e8))
        with pytest.raises(
            RunError, match=r"only 0.4 GB are free .* \(--min-free-gb\); make room"
        ):
            carry_on(result.folder)
    assert carry_on(result.folder).ending == "done"


def test_a_resume_on_other_data_is_refused(tmp_path):
    result = begin(tmp_path, listener=Silent(raise_at=1))
    folder = RunFolder.open(result.folder)
    info = folder.read_info()
    dataset = info.dataset.model_copy(update={"fingerprint": "0123456789abcdef"})
    folder.write_info(info.with_changes(dataset=dataset))
    with pytest.raises(
        InputError, match="was started with 0123456789abcdef: its trials would not"
    ):
        carry_on(result.folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            TEXT + "constraints: [params <= 3]\n",
            r"no network that was tried meets params <= 3 on digits; relax the constraints, or give",
        ),
        (
            TEXT.replace("train_images: 200", "train_images: 2000"),
            "train_images is 2000, but there are only",
        ),
    ],
)
def test_a_search_that_cannot_be_made_says_why(text, message, tmp_path):
    with pytest.raises(InputError, match=message):
        begin(tmp_path / "runs", text)
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_ray_cannot_name_is_refused_before_anything_is_written(tmp_path):
    options = RunOptions(runs_dir=tmp_path / "\udcff", name="run", local=False)
    with pytest.raises(InputError, match=r"Ray cannot use the folder .*udcff/run, .*: --local"):
        search(prepare("smoke"), options, listening_to(Silent()))
    assert list(tmp_path.iterdir()) == []


def test_images_too_small_for_the_network_are_refused_before_anything_is_written(
    tmp_path, image_tree
):
    with pytest.raises(InputError, match=r"proposed on imagefolder.*6x6 is too small"):
        begin(tmp_path / "runs", "epochs: 1", dataset=f"imagefolder:{image_tree(size=6)}")
    assert not (tmp_path / "runs").exists()


def test_an_error_in_one_trial_is_its_own_and_the_search_goes_on(tmp_path, monkeypatch):
    real = Training.run_epoch

    def breaks(self):
        if self.config.net["width"] == 0.2:
            raise ValueError("no such luck")
        return real(self)

    monkeypatch.setattr(Training, "run_epoch", breaks)
    trials = load_run(begin(tmp_path, trials=4).folder).trials
    failed = trials[trials["state"] == "FAIL"]
    assert 1 <= len(failed) < 4
    assert failed["reason"].str.fullmatch(r"ValueError in test_search.py:\d+: no such luck").all()
    assert set(failed["param.net.width"]) == {0.2}


def test_a_search_of_which_no_trial_can_be_trained_has_failed(tmp_path, monkeypatch):
    def breaks(self):
        raise ValueError("no such luck")

    monkeypatch.setattr(Training, "run_epoch", breaks)
    with pytest.raises(
        RunError, match=r"not one of the trials could be trained; trial 0: ValueErr"
    ):
        begin(tmp_path)
    assert "failed with an error | 3" in (tmp_path / "quick" / "summary.md").read_text()


def test_paths_are_kept_so_that_a_run_can_be_resumed_from_elsewhere(
    tmp_path, image_tree, monkeypatch
):
    tree = image_tree()
    monkeypatch.chdir(tree.parent)
    text = "epochs: 1\ntrials: 2\nparameters: {validation: 0.5, net.width: {choice: [0.1, 0.2]}}"
    result = begin(tmp_path, text, Silent(raise_at=1), dataset=f"imagefolder:{tree.name}")
    monkeypatch.chdir("/")
    assert carry_on(result.folder).ending == "done"


def test_running_out_of_memory_is_recorded_as_that(tmp_path, monkeypatch):
    import torch

    def breaks(self):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Training, "run_epoch", breaks)
    with pytest.raises(RunError, match=r"not one of the trials .* trial 0: CUDA out of memory"):
        begin(tmp_path, trials=1)
    (folder,) = tmp_path.iterdir()
    trials = load_run(folder).trials
    assert trials["outcome"].tolist() == ["out_of_memory"]
    assert trials["state"].tolist() == ["PRUNED"]


def test_a_killed_search_is_resumed_with_every_trial_once(tmp_path):
    command = [sys.executable, "-m", "tunecnn", "search", "--local", "--name", "killed",
               "--runs-dir", str(tmp_path), "--json"]  # fmt: skip
    space = tmp_path / "space.yaml"
    space.write_text(TEXT.replace("trials: 3", "trials: 8").replace("epochs: 2", "epochs: 6"))
    process = subprocess.Popen(
        [*command, "--space", str(space)], stdout=subprocess.PIPE, text=True
    )
    events = (json.loads(line) for line in process.stdout)
    lines = list(itertools.islice((one for one in events if one["event"] == "trial"), 3))
    process.send_signal(signal.SIGKILL)
    process.wait()
    run = load_run(tmp_path / "killed")
    seen = {line["trial"]: line["val_accuracy"] for line in lines}

    assert carry_on(run.path).ending == "done"
    trials = load_run(run.path).trials
    assert trials["state"].tolist() == ["COMPLETE"] * 8
    for trial, accuracy in seen.items():
        assert trials.loc[trial, "val_accuracy"] == accuracy
        assert trials.loc[trial, "attempts"] == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("epochs", [3, 9, 16])
def test_a_killed_search_with_promotion_ends_as_an_uninterrupted_one(epochs, tmp_path):
    text = TEXT.replace("trials: 3", "trials: 12").replace("epochs: 2", "epochs: 4")
    text = text.replace("sampler: random", "sampler: {tpe: {startup_trials: 4}}")
    (tmp_path / "space.yaml").write_text(text + "pruner: {promotion: {factor: 2}}\n")
    command = [sys.executable, "-m", "tunecnn", "search", "--local", "--runs-dir", str(tmp_path),
               "--json", "--space", str(tmp_path / "space.yaml")]  # fmt: skip
    subprocess.run([*command, "--name", "whole"], check=True, stdout=subprocess.DEVNULL)
    killed = subprocess.Popen([*command, "--name", "killed"], stdout=subprocess.DEVNULL)
    journal = tmp_path / "killed" / "study.journal"
    while not journal.exists() or journal.read_text().count('"epoch:') < epochs:
        assert killed.poll() is None
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert carry_on(tmp_path / "killed").ending == "done"
    whole, resumed = (load_run(tmp_path / name) for name in ("whole", "killed"))
    assert (whole.trials["proposal"] == "model").any()
    different = ["run", "seconds", "started", "ended", "attempts"]
    assert resumed.trials.drop(columns=different).equals(whole.trials.drop(columns=different))


@pytest.mark.slow
def test_a_reproduction_killed_in_the_middle_of_an_epoch_goes_on_to_the_same_figures(tmp_path):
    """SIGKILL as soon as the third epoch's checkpoint is there, so in the fourth or a later one."""
    command = [sys.executable, "-m", "tunecnn", "reproduce", "--local", "--dataset", "digits",
               "--against", "none", "--models", "model2", "--seeds", "1", "--epochs", "30",
               "--runs-dir", str(tmp_path), "--checkpoint-seconds", "0", "--quiet"]  # fmt: skip
    process = subprocess.Popen([*command, "--name", "killed"])
    checkpoints = tmp_path / "killed" / "checkpoints"
    while not list(checkpoints.glob("*-epoch-0000[3-9]-*.safetensors")):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    listener = Silent()
    assert carry_on(tmp_path / "killed", listener).ending == "done"
    assert 0 < listener.epochs <= 27
    subprocess.run([*command, "--name", "whole"], check=True)
    killed, whole = load_run(tmp_path / "killed"), load_run(tmp_path / "whole")
    figures = [name for name in whole.epochs if name not in ("run", "seconds")]
    assert killed.epochs[figures].equals(whole.epochs[figures])
    assert killed.evaluations[["accuracy", "loss"]].equals(whole.evaluations[["accuracy", "loss"]])
    assert killed.trials["attempts"].tolist() == [2]


class Signals(Silent):
    """A listener that sends a signal to this process at an epoch."""

    def __init__(self, number: signal.Signals, at_epoch: int) -> None:
        super().__init__()
        self._number, self._at_epoch = number, at_epoch

    def on_epoch(self, number, metrics):
        super().on_epoch(number, metrics)
        if self.epochs == self._at_epoch:
            signal.raise_signal(self._number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_search_so_that_it_can_be_resumed(number, code, tmp_path):
    before = signal.getsignal(number)
    result = begin(tmp_path, listener=Signals(number, at_epoch=3))
    assert (result.ending, result.exit_code) == ("interrupted", code)
    assert signal.getsignal(number) is before
    assert load_run(result.folder).trials["state"].tolist() == ["COMPLETE", "WAITING"]
    options = "--local --cpus-per-trial 1"
    assert resume_command(result.folder) == f"tunecnn search --resume {result.folder} {options}"
    assert carry_on(result.folder).ending == "done"


@pytest.mark.slow  # the same with whole processes
@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ([signal.SIGTERM], 143),
        ([signal.SIGINT], 130),
        ([signal.SIGTERM, signal.SIGTERM], 143),
    ],
)
def test_a_search_that_is_asked_to_end_can_be_resumed(signals, code, tmp_path):
    space = tmp_path / "space.yaml"
    space.write_text(TEXT.replace("trials: 3", "trials: 500"))
    process = subprocess.Popen(
        [sys.executable, "-m", "tunecnn", "search", "--local", "--space", str(space),
         "--runs-dir", str(tmp_path), "--name", "stopped"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stdout:
        if "complete" in line:
            break
    for number in signals:
        os.kill(process.pid, number)
        time.sleep(0.05)
    out, err = process.communicate(timeout=280)
    assert process.returncode == code
    assert "Traceback" not in err
    once = len(signals) == 1
    assert ("carry on with: tunecnn search --resume" in out) == once
    assert (tmp_path / "stopped" / "summary.md").is_file() == once
    assert ("ended at once" in err) == (not once)
    assert not list((tmp_path / "stopped").glob(".*"))
    run = load_run(tmp_path / "stopped")
    assert run.trials["state"].eq("COMPLETE").any()
    assert not once or not run.trials["state"].eq("RUNNING").any()


def test_a_job_that_is_started_again_goes_on_with_its_run(tmp_path):
    started = begin(tmp_path, listener=Silent(raise_at=1), resume_or_start="job")
    assert (started.folder.name, started.ending) == ("job", "interrupted")
    again = begin(tmp_path, resume_or_start="job")
    assert (again.folder, again.ending) == (started.folder, "done")
    done = load_run(again.folder)
    assert len(done.info.sessions) == 2
    assert begin(tmp_path, resume_or_start="job").ending == "done"
    more = begin(tmp_path, trials=5, resume_or_start="job")
    trials = load_run(more.folder).trials
    assert len(trials) == 5
    assert trials["val_loss"][:3].tolist() == done.trials["val_loss"].tolist()


def test_a_job_with_another_question_does_not_go_on_with_the_run_of_that_name(tmp_path):
    begin(tmp_path, resume_or_start="job")
    for text, changes, words in (
        (TEXT.replace("epochs: 2", "epochs: 3"), {}, "the space file"),
        (TEXT, {"epochs": 3}, "epochs"),
    ):
        with pytest.raises(InputError, match=rf"another search \({words}\); give another name"):
            begin(tmp_path, text, resume_or_start="job", **changes)


def test_a_session_that_is_cut_off_after_its_budget_is_used_up_is_not_done(tmp_path, monkeypatch):
    """A scheduler would not start it again, and the trials that ran would be lost."""

    class TwoAtOnce(LocalEngine):
        def run(self, recorder, data, code, scratch):
            first, _ = recorder.next_trial(), recorder.next_trial()
            end = TrialEnd(Outcome.COMPLETE, kept_epoch=1, weights=b"w")
            recorder.take(first.number, TrialUpdate((metrics(1, 0.9),), end))
            assert recorder.next_trial() is None
            recorder.interrupts.requested = 1

    engine = contextlib.nullcontext(TwoAtOnce(1, 30.0))
    monkeypatch.setattr("tunecnn.workflows.resources._engine", lambda options: engine)
    result = begin(tmp_path, TEXT + "budget: {accuracy: 0.5}\n")
    assert result.ending == "interrupted"
    assert load_run(result.folder).trials["outcome"].tolist() == ["complete", "waiting"]
    monkeypatch.undo()
    assert carry_on(result.folder).ending == "done"
    assert load_run(result.folder).trials["outcome"].tolist() == ["complete", "complete"]


def test_a_trial_whose_node_is_lost_goes_on_though_the_budget_is_used_up(tmp_path, monkeypatch):
    class LosesANode(LocalEngine):
        def run(self, recorder, data, code, scratch):
            first, second = recorder.next_trial(), recorder.next_trial()
            end = TrialEnd(Outcome.COMPLETE, kept_epoch=1, weights=b"w")
            recorder.take(first.number, TrialUpdate((metrics(1, 0.9),), end))
            recorder.put_back(second.number, "its node was lost")
            again = recorder.next_trial()
            assert again.number == second.number
            assert recorder.next_trial() is None
            recorder.take(again.number, TrialUpdate((metrics(1, 0.9),), end))
            assert recorder.next_trial() is None

    engine = contextlib.nullcontext(LosesANode(1, 30.0))
    monkeypatch.setattr("tunecnn.workflows.resources._engine", lambda options: engine)
    result = begin(tmp_path, TEXT + "budget: {accuracy: 0.5}\n")
    assert result.ending == "done"
    assert load_run(result.folder).trials["outcome"].tolist() == ["complete", "complete"]


def test_a_budget_that_is_used_up_by_the_last_trial_has_kept_none_from_starting(tmp_path):
    listener = Silent()
    result = begin(tmp_path, TEXT + "budget: {accuracy: 0.01}\n", listener, trials=1)
    assert result.ending == "done"
    assert not any("no further trial" in note for note in listener.notes)


def test_a_session_whose_run_was_taken_over_writes_nothing_at_its_end(tmp_path, monkeypatch):
    """As after a stop of half a minute: the other process may have ended the run already."""
    monkeypatch.setattr("tunecnn.run.lock._RENEW_SECONDS", 0.05)
    folder = tmp_path / "quick"

    def contents(folder):
        return {
            path: path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and path.name != ".lock"
        }

    class Taken(Silent):
        def on_trial_end(self, record):
            if record.number == 2:
                other = dataclasses.replace(Holder.here(), host="elsewhere", token="another")
                (folder / ".holder").write_text(json.dumps(dataclasses.asdict(other)))
                time.sleep(0.5)
                self.before = contents(folder)

    listener = Taken()
    with pytest.raises(RunError, match="was taken over by process .* on elsewhere"):
        begin(tmp_path, listener=listener)
    assert contents(folder) == listener.before


def test_two_searches_do_not_train_in_one_process_at_once(tmp_path):
    """They share torch's random numbers: neither would have the results of its seeds."""

    class Another(Silent):
        def on_epoch(self, number, metrics):
            with ThreadPoolExecutor(1) as pool:
                second = pool.submit(begin, tmp_path, name="second")
                with pytest.raises(RunError, match="another search trains in this process"):
                    second.result()
            raise KeyboardInterrupt

    assert begin(tmp_path, listener=Another(), name="first").ending == "interrupted"
    assert carry_on(tmp_path / "second").ending == "done"


def test_another_source_of_the_same_version_is_refused(tmp_path, monkeypatch):
    """As after a `git pull` between two sessions."""
    folder = begin(tmp_path, listener=Silent(raise_at=1)).folder
    for module in ("session", "search"):
        monkeypatch.setattr(f"tunecnn.workflows.{module}.source_hash", lambda: "another")
    with pytest.raises(
        InputError, match=r"have changed \(the source of tunecnn .*--allow-changes"
    ):
        carry_on(folder)
    assert carry_on(folder, allow_changes=True).ending == "done"


def test_the_time_of_a_killed_session_counts(tmp_path):
    folder = begin(tmp_path, listener=Silent(raise_at=1)).folder
    stored = RunFolder(folder)
    info = stored.read_info()
    started = info.last_session.started
    stored.write_info(info.with_session(ended=None, ending=None))
    journal = folder / "study.journal"
    *others, last = journal.read_bytes().splitlines(keepends=True)
    line = from_line(last)
    last = to_line(line.number, line.log, at=started.timestamp() + 3600)
    journal.write_bytes(b"".join([*others, last]))
    os.utime(journal, (2e9, 2e9))  # as a copy of the folder may do
    carry_on(folder)
    run = load_run(folder)
    assert run.info.sessions[0].ended == started + timedelta(hours=1)
    assert run.info.wall_seconds >= 3600
    assert "1 of them cut off" in str(summarize_search(run).time)


def test_jobs_that_start_in_the_same_second_get_names_of_their_own(tmp_path, monkeypatch):
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 1, 1, tzinfo=UTC)

    monkeypatch.setattr("tunecnn.workflows.search.datetime", Clock)
    folders = [begin(tmp_path, name=None).folder.name for _ in range(3)]
    assert folders == [f"{folders[0]}{end}" for end in ("", "-2", "-3")]
    with pytest.raises(InputError, match="there is a run at"):
        begin(tmp_path, name=folders[0])


def test_a_path_with_dots_is_the_folder_that_it_means(tmp_path, monkeypatch):
    folder = begin(tmp_path).folder
    monkeypatch.chdir(folder / "figures")
    run = load_run("..")
    assert run.name == folder.name
    assert set(run.trials["run"]) == {folder.name}


def test_a_job_that_is_started_again_without_its_limit_goes_on(tmp_path):
    """The limit of the first command stayed, so it ended at once and was called done."""
    options = RunOptions(runs_dir=tmp_path, local=True, resume_or_start="job")
    path = tmp_path / "space.yaml"
    path.write_text(TEXT)
    limited = prepare(str(path), {}, {"accuracy": 0.01})
    first = search(limited, options, listening_to(Silent()))
    assert len(load_run(first.folder).records) < 3
    again = search(prepare(str(path)), options, listening_to(Silent()))
    assert len(load_run(again.folder).complete) == 3


def test_what_trains_a_trial_again_has_the_threads_of_that_trial(tmp_path):
    """A session that only sends a tracker what it lacks may have had others."""
    folder = begin(tmp_path, threads=2).folder
    before = summarize_search(load_run(folder))
    resume(folder, RunOptions(local=True, cpus_per_trial=1), listening_to(Silent()))
    found = load_run(folder)
    assert found.info.last_session.engine.threads == 1
    after = summarize_search(found)
    assert "--threads 2" in before.command
    assert (after.command, after.hardware) == (before.command, before.hardware)


def test_warnings_about_the_images_are_warnings(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    labels = np.arange(60) % 2
    np.savez(
        tmp_path / "a.npz",
        train_images=pixels,
        train_labels=labels,
        test_images=pixels[:10],
        test_labels=labels[:10],
    )
    silent = Silent()
    text = TEXT.replace("digits", str(tmp_path / "a.npz")).replace("train_images: 200", "crop: 0")
    begin(tmp_path, text, silent)
    assert any("test images are identical to train" in one for one in silent.warnings)


def test_a_resumed_search_keeps_as_many_weights_as_before(tmp_path):
    run = tmp_path / "run"
    words = ("search", "--space", "smoke", "--trials", "5", "--epochs", "1", "--local", "-q")
    assert main(*words, "--runs-dir", str(tmp_path), "--name", "run", "--keep-weights", "4") == 0
    assert len(list((run / "weights").iterdir())) == 4
    more = ("search", "--resume", str(run), "--trials", "+1", "--local", "-q")
    assert main(*more) == 0
    assert len(list((run / "weights").iterdir())) == 4
    assert main(*more, "--keep-weights", "2") == 0
    assert len(list((run / "weights").iterdir())) == 2


def test_a_search_is_confirmed_on_its_own_images_only(tmp_path, capsys):
    for i in range(40):
        save(tmp_path / "photos" / "ab"[i % 2] / f"{i}.png", picture(i))
    text = f"dataset: imagefolder:{tmp_path / 'photos'}\nepochs: 1\ntrials: 2\nsampler: random\n"
    (tmp_path / "s.yaml").write_text(text + "parameters: {net.width: {choice: [0.25, 0.5]}}\n")
    words = ("search", "--space", str(tmp_path / "s.yaml"), "--local", "-q")
    assert main(*words, "--runs-dir", str(tmp_path), "--name", "run") == 0
    save(tmp_path / "photos" / "a" / "100.png", picture(0))
    confirm = ("confirm", str(tmp_path / "run"), "--top", "1", "--seeds", "1", "--local", "-q")
    assert main(*confirm) == 2
    assert "its trials would not be comparable" in capsys.readouterr().err
    (tmp_path / "photos" / "a" / "100.png").unlink()
    assert main(*confirm) == 0
    predictions = next((tmp_path / "run" / "confirmations").glob("*/predictions"))
    shutil.rmtree(predictions)
    capsys.readouterr()
    assert main("summarize", str(tmp_path / "run")) == 0  # the search is none the worse for it
    assert "is left out: the predictions" in capsys.readouterr().err
    assert main("summarize", str(predictions.parent)) == 1
    assert f"remove the run {predictions.parent} and train it again" in capsys.readouterr().err
