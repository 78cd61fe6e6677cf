"""Searches whose driver is killed at random moments: tunecnn beside plain Ray Tune.

    python -m benchmarks.killed_drivers [RUNS]

Each of RUNS (20) searches trains 6 trials on digits, is killed (-9) at a random moment and then
carried on with: by `tunecnn search --resume`, and another by `Tuner.restore` with `OptunaSearch`,
as Ray's documentation does it. Both are killed at the same moments: so many seconds
after so many trials. A trial counts as acknowledged when the driver has said that it ended.

lost: acknowledged trials that are not there at the end, or with another value.
repeated: acknowledged trials that were trained again.
restarts: searches that could not be restored, and so began from nothing.
wrong total: searches that end with more or fewer trials than asked for.
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TRIALS, EPOCHS = 6, 12
SPACE = f"""
name: killed
dataset: digits
architecture: model1
epochs: {EPOCHS}
trials: {TRIALS}
parameters:
  net.width: {{choice: [0.25, 0.5]}}
  learning_rate: {{float: [1e-3, 1e-2], log: true}}
  train_images: 300
sampler: tpe
"""


def tunecnn_command(folder: Path) -> list[str]:
    """Begin, or carry on with, a search by tunecnn."""
    words = ["--json", "--checkpoint-seconds", "1"]
    if (folder / "run").is_dir():
        words += ["--resume", str(folder / "run")]
    else:
        (folder / "space.yaml").write_text(SPACE)
        words += ["--space", str(folder / "space.yaml"), "--runs-dir", str(folder)]
        words += ["--name", "run"]
    return [sys.executable, "-m", "tunecnn", "search", *words]


def plain_command(folder: Path) -> list[str]:
    """Begin, or restore, the same search by Ray Tune alone."""
    return [sys.executable, __file__, "plain", str(folder)]


def plain(folder: Path) -> None:
    """Search with Ray Tune and OptunaSearch, restoring what there is."""
    import optuna
    from ray import init, tune
    from ray.tune.search.optuna import OptunaSearch

    from tunecnn import load_dataset, make_config
    from tunecnn.data.splits import Split

    init("local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    data = load_dataset("digits", Split(train_images=300)).trial_data

    def trainable(config: dict[str, Any]) -> None:
        import torch

        from tunecnn.trial.training import Training

        torch.set_num_threads(1)
        settings = make_config(
            "fast",
            "model1",
            "digits",
            epochs=EPOCHS,
            **{"net.width": config["net.width"]},
            train_images=300,
            learning_rate=config["learning_rate"],
            seed=0,
        )
        training = Training(settings, data)
        begin = 0
        if checkpoint := tune.get_checkpoint():
            with checkpoint.as_directory() as path:
                training.restore(Path(path, "state").read_bytes())
            begin = training.epoch
        say(folder, {"event": "begin", "trial": tune.get_context().get_trial_id(), "epoch": begin})
        for metrics in training:
            with tempfile.TemporaryDirectory() as path:
                Path(path, "state").write_bytes(
                    b"" if training.finished else training.checkpoint()
                )
                tune.report(
                    {"accuracy": metrics.val_accuracy},
                    checkpoint=tune.Checkpoint.from_directory(path),
                )

    class Acknowledge(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            value = trial.last_result["accuracy"]
            say(folder, {"event": "trial", "trial": trial.trial_id, "val_accuracy": value})

    space = {"net.width": tune.choice([0.25, 0.5]), "learning_rate": tune.loguniform(1e-3, 1e-2)}
    path = folder / "tune"
    if tune.Tuner.can_restore(str(path)):
        tuner = tune.Tuner.restore(
            str(path), trainable, resume_unfinished=True, restart_errored=True
        )
    else:
        say(folder, {"event": "new"})
        sampler = optuna.samplers.TPESampler(seed=0)
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space=space,
            tune_config=tune.TuneConfig(
                metric="accuracy",
                mode="max",
                num_samples=TRIALS,
                search_alg=OptunaSearch(sampler=sampler),
            ),
            run_config=tune.RunConfig(
                name="tune", storage_path=str(folder), verbose=0, callbacks=[Acknowledge()]
            ),
        )
    for result in tuner.fit():
        say(
            folder,
            {
                "event": "end",
                "trial": result.path.rpartition("/")[2].split("_")[1],
                "val_accuracy": (result.metrics or {}).get("accuracy"),
            },
        )


def say(folder: Path, event: dict[str, Any]) -> None:
    """Add a line to the log that is judged."""
    with (folder / "log").open("a") as stream:
        stream.write(json.dumps(event) + "\n")


def run(command: list[str], log: Path, kill: tuple[int, float] | None = None) -> int:
    """Run a search, its JSON lines into the log; kill it if so much has happened."""
    with log.open("a") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.DEVNULL)
        if kill is not None:
            count, delay = kill
            while process.poll() is None and len(acknowledged(log)) < count:
                time.sleep(0.02)
            time.sleep(delay)
            process.kill()
        return process.wait()


def acknowledged(log: Path) -> dict[Any, float]:
    """Return the trials that the driver has said to have ended, and their values."""
    return {e["trial"]: e["val_accuracy"] for e in events(log) if e["event"] == "trial"}


def events(log: Path) -> list[dict[str, Any]]:
    """Read a log; of other programs' output, only what is JSON."""
    found = []
    for line in log.read_text().splitlines():
        with contextlib.suppress(ValueError):  # other words, and half a line of one killed
            found.append(json.loads(line))
    return found


def judge_tunecnn(folder: Path, before: dict[Any, float]) -> dict[str, int]:
    """Count what became of the trials of a search by tunecnn."""
    from tunecnn import load_run

    records = {record.number: record for record in load_run(folder / "run").records}
    kept = {n: r.kept.val_accuracy for n, r in records.items() if r.outcome.has_ended and r.kept}
    return {
        "acknowledged": len(before),
        "lost": sum(kept.get(n) != value for n, value in before.items()),
        "repeated": sum(records[n].attempts > 1 for n in before if n in records),
        "wrong total": int(len(kept) != TRIALS),
        "restarts": 0,
    }


def judge_plain(folder: Path, before: dict[Any, float]) -> dict[str, int]:
    """Count what became of the trials of a search by Ray Tune alone."""
    log = events(folder / "log")
    ends = {e["trial"]: e["val_accuracy"] for e in log if e["event"] == "end"}
    begins = [e["trial"] for e in log if e["event"] == "begin"]
    after = begins[begins.index("kill") + 1 :] if "kill" in begins else []
    return {
        "acknowledged": len(before),
        "lost": sum(ends.get(n) != value for n, value in before.items()),
        "repeated": sum(n in after for n in before),
        "wrong total": int(sum(value is not None for value in ends.values()) != TRIALS),
        "restarts": max(0, sum(e["event"] == "new" for e in log) - 1),
    }


def main(runs: int) -> None:
    """Kill and carry on with both, and print what became of their trials."""
    ways = {
        "tunecnn": (tunecnn_command, judge_tunecnn),
        "plain Tune": (plain_command, judge_plain),
    }
    moments = random.Random(0)
    totals: dict[str, dict[str, int]] = {way: {} for way in ways}
    for number in range(runs):
        kill = moments.randrange(TRIALS), moments.uniform(0.0, 1.5)
        for way, (command, judge) in ways.items():
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                log = folder / "log"
                run(command(folder), log, kill)
                time.sleep(2)  # Ray's processes follow their driver
                before = acknowledged(log)
                say(folder, {"event": "begin", "trial": "kill"})
                code = run(command(folder), log)
                counts = {"searches": 1, **judge(folder, before), "failed": int(code != 0)}
                for what, count in counts.items():
                    totals[way][what] = totals[way].get(what, 0) + count
            print(
                f"{number:2d} killed {kill[1]:.1f} s after trial {kill[0]}, {way}: {counts}",
                flush=True,
            )
    print("\n| |", " | ".join(ways), "|\n|---|", "---:|" * len(ways), sep="")
    for what in totals["tunecnn"]:
        print(f"| {what} |", " | ".join(str(totals[way][what]) for way in ways), "|")


if __name__ == "__main__":
    if sys.argv[1:2] == ["plain"]:
        plain(Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
