"""Shows the progress of a run in a notebook: one table that is updated in place."""

from __future__ import annotations

import time
from html import escape
from pathlib import Path
from typing import Any

from tunecnn.run.listener import Listener
from tunecnn.study.records import Ranking, TrialRecord
from tunecnn.study.study import Study, TrialTask
from tunecnn.trial.messages import EpochMetrics
from tunecnn.words import in_short, seconds_in_words

_ROWS = 5
_SECONDS = 0.5


class Notebook(Listener):
    """A listener that shows the best trials so far, and the running ones.

    Args:
        study: study whose trials are shown.
        folder: folder of the run.
    """

    def __init__(self, study: Study, folder: Path) -> None:
        from IPython import display

        there: Any = display
        self._html, show = there.HTML, there.display
        self._study = study
        self._folder = folder
        self._started = time.monotonic()
        self._shown = 0.0
        self._running: dict[int, EpochMetrics | None] = {}
        self._messages: list[str] = []
        self._ranking = Ranking(study.space.metric, study.records)
        self._handle: Any = show(self._html(self._page()), display_id=True)

    def on_trial_start(self, task: TrialTask) -> None:
        """Show a trial among the running ones."""
        self._running[task.number] = None
        self.on_tick()

    def on_epoch(self, number: int, metrics: EpochMetrics) -> None:
        """Show the latest accuracy of a running trial."""
        self._running[number] = metrics
        self.on_tick()

    def on_trial_end(self, record: TrialRecord) -> None:
        """Show a trial among those that have ended."""
        self._running.pop(record.number, None)
        self._ranking.add(record)
        self._update()

    def on_trial_pause(self, record: TrialRecord) -> None:
        """Show a trial no longer among the running ones."""
        self._running.pop(record.number, None)
        self._update()

    def on_trial_requeue(self, number: int, reason: str) -> None:
        """Show why a trial will be retried."""
        self._running.pop(number, None)
        self.on_note(f"trial {number} will be retried: {reason}")

    def on_note(self, text: str) -> None:
        """Show a statement."""
        self._messages.append(text)
        self._update()

    def on_warning(self, text: str) -> None:
        """Show a warning."""
        self._messages.append(f"warning: {text}")
        self._update()

    def on_tick(self) -> None:
        """Update the table, at most twice per second."""
        if time.monotonic() - self._shown > _SECONDS:
            self._update()

    def _update(self) -> None:
        self._shown = time.monotonic()
        self._handle.update(self._html(self._page()))

    def _page(self) -> str:
        metric = self._study.space.metric
        spent = seconds_in_words(time.monotonic() - self._started)
        ended_trials = f"{self._study.ended} of {self._study.space.trials} trials have ended"
        lines = [
            f"{ended_trials}, {len(self._running)} running, {spent}; run: {self._folder}",
            *self._messages,
        ]
        names = list(self._study.space.searched)
        head = "".join(f"<th>{escape(name)}</th>" for name in ["trial", "accuracy", *names])
        rows = [
            [
                str(record.number),
                f"{getattr(record.kept, metric):.2%}" if record.kept else "-",
                *(
                    in_short(record.values[name]) if name in record.values else ""
                    for name in names
                ),
            ]
            for record in self._ranking.ranked()[:_ROWS]
        ]
        rows += [
            [
                f"{number} (runs)",
                f"{getattr(metrics, metric):.2%}" if metrics else "-",
                *("" for _ in names),
            ]
            for number, metrics in sorted(self._running.items())
        ]
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
        )
        said = "<br>".join(map(escape, lines))
        return f"<div>{said}</div><table><tr>{head}</tr>{body}</table>"
