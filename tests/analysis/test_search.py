from __future__ import annotations

from tests.support.scripted import ScriptedRun
from tunecnn.analysis.search import summarize_search

REPEATED = """
name: repeated
dataset: digits
epochs: 1
trials: 6
parameters:
  net.width: {choice: [0.5, 1.0]}
sampler: random
"""


def test_a_lucky_seed_of_worse_values_is_named_beside_the_winner(tmp_path):
    run = ScriptedRun(tmp_path / "run", REPEATED)
    lucky = iter([0.95, *[0.60] * 5])
    run.train_all(lambda t: 0.80 if t.config.net["width"] == 0.5 else next(lucky))
    loaded = run.load()
    best = loaded.trials.loc[loaded.trials["val_accuracy"].idxmax()]
    summary = summarize_search(loaded)
    assert summary.best is not None
    assert summary.best.val_accuracy == 0.80
    seeds = int((loaded.trials["param.net.width"] == 1.0).sum())
    assert f"Trial {best['trial']} reached 95.00%, but its values were tried with {seeds} seeds, " \
        in summary.verdict  # fmt: skip
