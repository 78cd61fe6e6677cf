"""Trials and epochs as pandas data frames with fixed columns."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from tunecnn.data.images import Labels
from tunecnn.run.info import Evaluation
from tunecnn.space.parameters import FloatParameter, IntParameter, Parameter
from tunecnn.study.records import TrialRecord
from tunecnn.words import all_in_utf8

TRIAL_DTYPES = {
    "run": "str",
    "trial": "int64",
    "state": "str",
    "outcome": "str",
    "reason": "str",
    "source": "str",
    "proposal": "str",
    "architecture": "str",
    "dataset": "str",
    "seed": "Int64",
    "epochs": "int64",
    "seconds": "float64",
    "params": "Int64",
    "macs": "Int64",
    "val_accuracy": "float64",
    "val_balanced_accuracy": "float64",
    "val_loss": "float64",
    "train_accuracy": "float64",
    "train_loss": "float64",
    "kept_epoch": "Int64",
    "best_epoch": "Int64",
    "best_val_accuracy": "float64",
    "attempts": "int64",
    "node": "str",
    "device": "str",
    "precision": "str",
    "started": "datetime64[ns]",
    "ended": "datetime64[ns]",
}
"""Columns of a frame of trials, followed by a `param.<name>` for each searched parameter.

Its type is that of the parameter's possible values: `float64`, `Int64`, `boolean`, or `object` for
words and mixed ones; it is missing in trials in which the parameter does not exist.

`val_accuracy` and the other figures without `best_` are those of the epoch that counts: the kept
one of a trial trained to its end, else the last one. `best_epoch` is the epoch with the highest
validation accuracy, a value that is biased upwards. `source` is `random_baseline` for a trial that
was sampled at random for the random baseline, else `search`. `proposal` says who chose the values:
`start`, `grid`, `random`, or `model` for the sampler's model of earlier trials. `seconds` is the
time of training and validation. `macs` is the number of multiply-accumulates of a forward pass of
one image. `outcome` is one of `complete`, `pruned`, `diverged`, `out_of_memory`, `timeout`,
`error`, `infeasible` (it breaks a constraint or cannot be built, and was not trained), `running`,
`paused` and `waiting`; `reason` says more of all but complete trials, and `state` is Optuna's
word. `attempts` is the number of times that the training was started; `started` is when the latest
one was, and `ended` when the trial was, which for one that the pruner had paused may be the end of
the search. Both are local times without their zone. The key is (`run`, `trial`).
"""

EPOCH_DTYPES = {
    "run": "str",
    "trial": "int64",
    "epoch": "int64",
    "train_loss": "float64",
    "train_accuracy": "float64",
    "val_loss": "float64",
    "val_accuracy": "float64",
    "val_balanced_accuracy": "float64",
    "seconds": "float64",
}
"""Columns of a frame of epochs, as in `tunecnn.trial.messages.EpochMetrics`.

The key is (`run`, `trial`, `epoch`).
"""

EVALUATION_DTYPES = {
    "run": "str",
    "trial": "int64",
    "candidate": "str",
    "time": "datetime64[ns, UTC]",
    "images": "int64",
    "accuracy": "float64",
    "loss": "float64",
}
"""Columns of a frame of evaluations on the test images: one row per tested trial of the run.

`run` is the name of the run, `search/confirmation` for a confirmation, and (`run`, `trial`) the
key. A confirmation is a run of its own, whose trials are those of new seeds, so its evaluations
are not listed by its search. `candidate` is the name of the confirmation's candidate that the
trial trains; it is empty in other runs.
"""

PREDICTION_DTYPES = {
    "run": "str",
    "trial": "int64",
    "candidate": "str",
    "image": "int64",
    "label": "int64",
    "predicted": "int64",
}
"""Columns of a frame of predictions: one row for each tested trial and test image.

`run.validation` has the same of validation images, and of the trials whose predictions are kept:
the best three (`--keep-weights`), those that are tested, and the baseline. `image` counts from 0
in the order of the images of that part; where trials have different splits, in the order of each
trial's own. The key is (`run`, `trial`, `image`).
"""


def trials_frame(
    run: str, records: Iterable[TrialRecord], searched: Mapping[str, Parameter]
) -> pd.DataFrame:
    """Make a frame with one row per trial, whatever its outcome.

    Args:
        run: name of the run.
        records: records of the trials.
        searched: the searched parameters by their names, each a column `param.<name>`.
    """
    # A column of text holds no other bytes, as a path may have them.
    rows = [{"run": run, **all_in_utf8(_trial_row(record, searched))} for record in records]
    dtypes = TRIAL_DTYPES | {f"param.{name}": _dtype(one) for name, one in searched.items()}
    # As they are: of 8 and a gap pandas would make 8.0.
    return pd.DataFrame(rows, columns=list(dtypes), dtype=object).astype(dtypes)


def _dtype(parameter: Parameter) -> str:
    """Return the type of a parameter's column, which follows from the space, not from the trials.

    So frames of several searches of a space fit together, and a gap makes no float of a count.
    """
    if isinstance(parameter, FloatParameter):
        return "float64"
    if isinstance(parameter, IntParameter):
        return "Int64"
    options = parameter.options
    if not parameter.has_order:
        return "boolean" if all(isinstance(one, bool) for one in options) else "object"
    if any(isinstance(one, float) for one in options):
        return "float64"
    return "Int64" if all(abs(int(one)) <= _LARGEST for one in options) else "object"


def epochs_frame(run: str, records: Iterable[TrialRecord]) -> pd.DataFrame:
    """Make a frame with one row for each epoch of each trial."""
    rows = [
        {"run": run, "trial": record.number, **vars(metrics)}
        for record in records
        for metrics in record.epochs
    ]
    return pd.DataFrame(rows, columns=list(EPOCH_DTYPES)).astype(EPOCH_DTYPES)


def evaluations_frame(
    run: str, evaluations: Iterable[Evaluation], candidates: Mapping[int, str]
) -> pd.DataFrame:
    """Make a frame with one row per evaluation on the test images.

    Args:
        run: name of the run.
        evaluations: evaluations of its trials.
        candidates: name of the candidate of each trial of a confirmation.
    """
    rows = [
        {"run": run, "candidate": candidates.get(one.trial, ""), **one.model_dump()}
        for one in evaluations
    ]
    return pd.DataFrame(rows, columns=list(EVALUATION_DTYPES)).astype(EVALUATION_DTYPES)


def predictions_frame(trial: int, labels: Labels, predicted: Labels) -> pd.DataFrame:
    """Make a frame with one trial's prediction for each image of a part, as a run stores it.

    The run's name and the candidate are added when it is read.
    """
    columns = {
        "trial": trial,
        "image": range(len(labels)),
        "label": labels,
        "predicted": predicted,
    }
    return pd.DataFrame(columns).astype("int64")


def to_parquet(frame: pd.DataFrame) -> bytes:
    """Write a frame as Parquet; columns of mixed types become text, as Parquet requires."""
    texts = {  # `astype("str")` of pandas 2 makes a word of a gap
        str(name): column.map(str, na_action="ignore")
        for name, column in frame.items()
        if pd.api.types.is_object_dtype(column)
    }
    stream = io.BytesIO()
    frame.assign(**texts).to_parquet(stream, index=False)
    return stream.getvalue()


_LARGEST = 2**63 - 1  # of an Int64
_FIGURES = ("val_accuracy", "val_balanced_accuracy", "val_loss", "train_accuracy", "train_loss")
"""Figures of the epoch whose weights a trial keeps."""


def _trial_row(record: TrialRecord, searched: Iterable[str]) -> dict[str, Any]:
    kept = record.kept
    figures = vars(kept) if kept else {}
    best = max(record.epochs, key=lambda metrics: metrics.val_accuracy, default=None)
    return {
        "trial": record.number,
        "state": record.state,
        "outcome": record.outcome,
        "reason": record.reason,
        "source": record.source,
        "proposal": record.proposal,
        "architecture": record.config.get("architecture", ""),
        "dataset": record.config.get("dataset", ""),
        "seed": record.config.get("seed"),
        "epochs": len(record.epochs),
        "seconds": record.seconds,
        "params": record.params,
        "macs": record.macs,
        **{name: figures.get(name) for name in _FIGURES},
        "kept_epoch": record.kept_epoch,
        "best_epoch": best.epoch if best else None,
        "best_val_accuracy": best.val_accuracy if best else None,
        "attempts": record.attempts,
        "node": record.node,
        "device": record.device,
        "precision": record.precision,
        "started": record.started,
        "ended": record.ended,
        **{f"param.{name}": record.values.get(name) for name in searched},
    }
