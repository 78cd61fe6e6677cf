"""Searches and confirmations in which all configurations are equal: whatever is claimed is false.

Each simulated network is right on an image with a probability that depends on the image, the seed
and the epoch only, so validation accuracies are as noisy, and as alike, as real ones.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.scripted import ScriptedRun
from tunecnn.analysis.confirmation import summarize_confirmation
from tunecnn.run.artifacts import Artifacts
from tunecnn.run.run import Run
from tunecnn.study.study import TrialTask
from tunecnn.summary.markdown import render_markdown
from tunecnn.summary.run_types import summarize
from tunecnn.trial.messages import EpochMetrics, Outcome, TrialEnd
from tunecnn.workflows.confirmation_space import candidates_of, confirmation_space, job_of

SEARCH = """
name: noise
dataset: digits
epochs: 9
trials: 48
seed: {seed}
parameters:
  net.width: {{choice: [0.25, 0.5, 1.0, 2.0]}}
  net.dropout_block3: {{float: [0.0, 0.7], step: 0.05}}
  net.dropout_dense: {{float: [0.0, 0.7], step: 0.05}}
  learning_rate: {{float: [1e-4, 1e-2], log: true, role: nuisance}}
start: [baseline]
sampler: tpe
pruner: promotion
random_baseline: 0.25
"""
CLAIMS = {
    "the winner is better than the baseline": r"more than luck",
    "a parameter matters": r"Importance is the share",
    "a value lies outside its range": r"may lie outside its range",
}
VALIDATION, TEST = 288, 360
SEED_NOISE = 0.01  # standard deviation of the accuracy between seeds


class Noise:
    """Networks that differ by luck only."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._easy = self._random.beta(4, 0.5, max(VALIDATION, TEST))  # of each image

    def right(self, images: int, better: float = 0.0) -> np.ndarray:
        """Draw on which images a newly trained network is right."""
        luck = self._random.normal(better, SEED_NOISE)
        return self._random.random(images) < np.clip(self._easy[:images] + luck, 0, 1)


def no_effect(trial: TrialTask) -> float:
    """What a configuration adds to the accuracy."""
    return 0.0


def searched(folder: Path, seed: int, effect: Callable[[TrialTask], float] = no_effect) -> Run:
    """A whole search through the real study, with the predictions of its complete trials."""
    run, noise = ScriptedRun(folder, SEARCH.format(seed=seed)), Noise(seed)
    files = Artifacts(run.path, print)
    while (trial := run.study.next_trial()) is not None:
        if trial.after:
            run.study.go_on_from(trial, trial.after)
        for epoch in range(trial.after + 1, 10):
            right = noise.right(VALIDATION, effect(trial))
            accuracy = float(right.mean())
            metrics = EpochMetrics(epoch, 0.5, 0.5, 1 - accuracy, accuracy, 1.0)
            if run.study.report(trial.number, metrics, is_last=epoch == 9):
                break
        else:
            stream = io.BytesIO()
            labels = np.zeros(VALIDATION, dtype=np.int32)
            np.save(stream, np.stack([labels, np.where(right, 0, 1).astype(np.int32)]))
            end = TrialEnd(Outcome.COMPLETE, kept_epoch=9, predictions=stream.getvalue())
            files.write_files(trial.number, end=end)
            run.study.finish(trial.number, end)
    run.study.stop_paused()
    return run.load()


def claims_of(run: Run) -> list[str]:
    """What its summary claims."""
    assert len(run.validation), "the predictions, without which the winner is not compared"
    text = render_markdown(summarize(run), {})
    return [name for name, pattern in CLAIMS.items() if re.search(pattern, text)]


def test_a_search_with_a_large_effect_claims_all_that_may_be_claimed(tmp_path):
    """Else the shares below would be those of sentences that no summary has."""
    run = searched(
        tmp_path / "run", 0, lambda trial: -0.6 * float(trial.config.net["dropout_dense"])
    )
    assert claims_of(run) == [*CLAIMS]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_summaries_of_noise_hardly_ever_claim_an_effect(tmp_path):
    """At most 5 of 100; the shares are in docs/summary.md."""
    claims = dict.fromkeys(CLAIMS, 0)
    with_claim = 0
    for seed in range(100):
        made = claims_of(searched(tmp_path / str(seed), seed))
        for name in made:
            claims[name] += 1
        with_claim += bool(made)
    print(claims, with_claim)
    assert with_claim <= 5, claims


def confirmed(folder: Path, seed: int, seeds: int) -> Run:
    """A confirmation of three candidates that are as good as the baseline."""
    space = SEARCH.format(seed=seed).replace("epochs: 9", "epochs: 1").replace("48", "8")
    space = space.replace("pruner: promotion\nrandom_baseline: 0.25", "pruner: none")
    draw = np.random.default_rng(seed)
    search = ScriptedRun(folder / "search", space).train_all(
        lambda trial: 0.1 + 0.8 * (trial.number > 0) + draw.normal(0, 1e-3)
    )
    candidates = candidates_of(search, 3, {})
    run = ScriptedRun(
        folder / "confirm",
        confirmation_space(search, candidates, seeds),
        job_of(search, candidates),
    )
    noise, labels = Noise(seed), np.zeros(TEST, dtype=np.int64)
    while (trial := run.study.next_trial()) is not None:
        run.study.report(trial.number, EpochMetrics(1, 0.5, 0.5, 0.1, 0.9, 1.0), is_last=True)
        run.study.finish(trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=1))
        right = noise.right(TEST)
        run.evaluate(trial.number, labels, np.where(right, 0, 1), float(right.mean()), 1.0)
    return run.load()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_confirmation_of_noise_hardly_ever_finds_a_difference(tmp_path, seeds):
    """Any of three candidates, at most 5 % of confirmations; intervals hold for 95 % or more."""
    repeats, alarms, covered, rows = 100, 0, 0, 0
    for seed in range(repeats):
        lines = summarize_confirmation(confirmed(tmp_path / str(seed), seed, seeds)).candidates
        gains = [line.test_gain for line in lines if not line.is_baseline]
        alarms += any("by more than noise" in gain.verdict for gain in gains)
        covered += sum(gain.interval[0] <= 0 <= gain.interval[1] for gain in gains)
        rows += len(gains)
    print(seeds, alarms, covered / rows)
    assert alarms <= 9  # 97 % of the binomial distribution of 100 confirmations with 5 %
    assert covered / rows >= 0.95
