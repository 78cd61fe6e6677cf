"""The answer of a search to its question, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from tunecnn.analysis.classes import guessing_probability, judged
from tunecnn.analysis.confirmation import MainConfirmation
from tunecnn.analysis.overview import (
    Lead,
    balanced_in_words,
    evaluations_of,
    images_in_words,
    majority_in_words,
    ranked_by,
)
from tunecnn.analysis.winner import SeedGain, TrialLine, Winner
from tunecnn.run.run import Run
from tunecnn.study.origin import Proposal, Source
from tunecnn.study.records import rounded
from tunecnn.words import count_in_words

_NO_EVIDENCE = 0.05  # probability of the same result by luck, from which on it shows nothing


def answer(run: Run, winner: Winner | None, confirmed: MainConfirmation | None) -> list[str]:
    """Return the sentences of the answer, the main one first.

    Args:
        run: run of a search.
        winner: its best trial; None without a complete one.
        confirmed: its main confirmation, whose verdict replaces what one seed can say.
    """
    used_up = run.info.last_session.used_up if run.info.sessions else ""
    no_further = (
        [f"No further trial was started, since {used_up}; a resume with a higher limit goes on."]
        if used_up
        else []
    )
    if winner is None:
        return [
            f"No trial has been trained to its end yet (ended: {run.ended}), so none is ranked.",
            *no_further,
        ]
    trial = winner.line.trial
    found = [_best(run, winner), *_against_the_baseline(run, winner)]
    found += _more_about(run, winner.line)
    if run.record(trial).proposal == Proposal.START and (
        winner.baseline is None or winner.baseline.trial != trial
    ):
        found.append(_as_a_start_point(run, trial))
    found += _of_the_random_baseline(run, trial)
    if len(run.ranked) > 1:
        found.append(
            "The winner of a search is partly the luckiest trial: expect less of it from a new "
            "seed."
        )
    found += no_further
    if confirmed is None:
        return [*found, *([] if evaluations_of(run) else ["The test images have not been used."])]
    later = (
        f"Trial {trial}, now the best, is not among the confirmed ones: confirm the search again."
    )
    headline, so_far = confirmed.summary.headline, "" if confirmed.run.has_ended else " so far"
    others = (
        f"This is {confirmed.run.path.name}, and there are others "
        f"({count_in_words(confirmed.others, 'confirmation')}): of those whose results can be "
        "compared, the one that trains most, with most seeds, counts; to choose one by its result "
        "would be luck again."
    )
    return [
        f"Confirmation{so_far}: {headline[0].lower()}{headline[1:]}",
        *confirmed.summary.caveats,
        *([others] if confirmed.others else []),
        *([] if confirmed.has_winner else [later]),
        f"In the search, {found[0][0].lower()}{found[0][1:]}",
        *found[1:],
    ]


def _as_a_start_point(run: Run, trial: int) -> str:
    """Say how much of a trial that began as a start point the search has found itself."""
    values = dict(run.record(trial).values)
    points = [rounded(run.space.only_active(point)) for point in run.space.start_points()]
    if values not in points:
        return f"A start point gave some values of trial {trial}; the sampler chose the others."
    whence = "given by hand"
    if "start" in run.info.changes:
        whence += ", or taken from an earlier run"
    return f"Trial {trial} is a start point, which was {whence}: the search has not found it."


def _of_the_random_baseline(run: Run, trial: int) -> Iterator[str]:
    """Say so if the best trial is one of the random ones that only stand beside the search."""
    if run.record(trial).source != Source.RANDOM_BASELINE:
        return
    own = run.ranked[run.ranked["source"] != Source.RANDOM_BASELINE]
    text = (
        f"Trial {trial} is one of the random trials for comparison, so the sampler has not found "
        "it"
    )
    if len(own):
        best, what = own.iloc[0], ranked_by(run)
        text += f": its own best is trial {best['trial']}, with {best['mean']:.2%} {what}"
        if best["seeds"] > 1:
            text += f", the mean of {best['seeds']} seeds"
    yield f"{text}."


def leads(run: Run, winner: Winner | None, confirmed: MainConfirmation | None) -> Iterator[Lead]:
    """Yield the winner beside the baseline: with the new seeds of a confirmation, then its own."""
    if confirmed:
        yield from confirmed.summary.leads
    if winner and winner.baseline and winner.gain:
        best, baseline = winner.line, winner.baseline
        seeds = f"{balanced_in_words(run.space.metric)}one seed each"
        ours, theirs = best.accuracy, baseline.accuracy
        if isinstance(winner.gain, SeedGain):
            means = f"{balanced_in_words(run.space.metric)}means"
            seeds = f"{means} of {best.seeds} and {baseline.seeds} seeds"
            if not winner.gain.seeds:
                seeds += ", none in common"
            elif winner.gain.seeds < max(best.seeds, baseline.seeds):
                seeds += f", difference over {winner.gain.seeds} in common"
            ours, theirs = best.mean, baseline.mean
        yield Lead(
            f"validation images, {seeds}",
            f"trial {best.trial}",
            ours,
            theirs,
            winner.gain.difference,
            winner.gain.interval,
        )


def _best(run: Run, winner: Winner) -> str:
    """Say which trial is the best, and how sure its accuracy is."""
    best, rivals, count = winner.line, winner.rivals, len(run.ranked)
    low, high = winner.interval
    which = f"The best of {count} trials" if count > 1 else "The only trial"
    which, balanced = f"{which} trained to the end is trial {best.trial}", ""
    if run.space.metric != "val_accuracy":
        balanced = f"{best.accuracy:.2%} balanced validation accuracy, and "
    if best.seeds > 1:
        which += (
            f", whose values have a mean {ranked_by(run)} of {best.mean:.2%} over {best.seeds} "
            "seeds, by which they are ranked. It is the best of them"
        )
    return (
        f"{which}, with {balanced}"
        f"{best.val_accuracy:.2%} validation accuracy: one run, {images_in_words(run)}, "
        f"95 % interval{' of the latter' * bool(balanced)} {low:.2%} to {high:.2%}"
        f"{_correction(rivals, stopped=winner.stopped > 0)}."
    )


def _correction(rivals: int, *, stopped: bool = False) -> str:
    """Say for which choice a figure of the best trial is corrected; nothing if there was none."""
    if rivals < 2:
        return ""
    others = f"{rivals - 1} trials that are" if rivals > 2 else "one trial that is"
    included = ", stopped ones included" if stopped else ""
    return f", corrected for the choice among it and {others} not clearly worse{included}"


def _more_about(run: Run, best: TrialLine) -> Iterator[str]:
    """Yield what else a reader should know about the best trial."""
    metric = run.space.metric
    what = f"mean {balanced_in_words(metric)}accuracy"
    highest = run.ranked.nlargest(1, metric).iloc[0]
    if highest[metric] > best.accuracy and highest["mean"] < best.mean:
        yield (
            f"Trial {highest['trial']} reached {highest[metric]:.2%}, but its values were tried "
            f"with {highest['seeds']} seeds, with a {what} of {highest['mean']:.2%}, by which "
            "they are ranked."
        )
    ties = int((run.ranked["mean"] == best.mean).sum()) - best.seeds
    if ties:
        which = "One other trial is" if ties == 1 else f"{ties} other trials are"
        yield f"{which} as good."
    if best.val_balanced_accuracy is not None and (
        run.space.metric != "val_accuracy" or run.info.dataset.sheet.is_unbalanced
    ):
        yield f"Its balanced accuracy is {best.val_balanced_accuracy:.2%}."
    if text := majority_in_words(run):
        yield text
    probability = guessing_probability(run, best.trial)
    if probability is not None and probability >= _NO_EVIDENCE:
        count = judged(run)
        tries = f"the best of {count} trials that only guess" if count > 1 else "guessing"
        yield (
            f"Nothing shows that it has learned anything: {tries} would be as good with a "
            f"probability of {probability:.0%}."
        )


def _means_beside(best: TrialLine, baseline: TrialLine, gain: SeedGain) -> str:
    """Say what the values of the best trial are worth where some were tried with several seeds."""
    more = "more" if gain.difference >= 0 else "less"
    text = (
        f"Its values have a mean of {best.mean:.2%} over {count_in_words(best.seeds, 'seed')}, "
        f"the baseline one of {baseline.mean:.2%} over {count_in_words(baseline.seeds, 'seed')}"
    )
    if not gain.seeds:
        return f"{text}; they have no seed in common, so whether it is more than chance is open."
    text += f": {100 * abs(gain.difference):.2f} points {more} with "
    text += f"{count_in_words(gain.seeds, 'seed')} in common"
    if gain.interval is None:
        return f"{text}, too few to say whether it is more than chance."
    low, high = gain.interval
    verdict = "is more than luck of the seeds" if low > 0 or high < 0 else "may be chance"
    interval = f"95 % interval {100 * low:+.2f} to {100 * high:+.2f} points"
    if gain.configurations > 1:
        interval += f", corrected for the choice among {gain.configurations} configurations"
    return f"{text}, which {verdict} ({interval})."


def _against_the_baseline(run: Run, winner: Winner) -> Iterator[str]:
    """Yield what the best trial is worth beside the baseline, and how sure that is."""
    baseline, gain = winner.baseline, winner.gain
    if baseline is None:
        if run.baseline_trial is not None or "baseline" in run.space.start:
            yield "The baseline was not trained to the end in this run."
        else:
            yield "The baseline is not among the trials of this search, so nothing is compared."
        return
    if gain is None:
        yield "It is the baseline itself."
        return
    if isinstance(gain, SeedGain):
        yield _means_beside(winner.line, baseline, gain)
        return
    if not gain.difference:
        yield f"The baseline (trial {baseline.trial}) reaches the same."
        return
    side = "above" if gain.difference > 0 else "below"
    text = (
        f"That is {100 * abs(gain.difference):.2f} points {side} the baseline "
        f"(trial {baseline.trial}, {baseline.accuracy:.2%}), one run each"
    )
    if gain.interval is None:
        yield f"{text}; whether it is more than chance cannot be said without both predictions."
        return
    low, high = gain.interval
    corrected = _correction(gain.rivals, stopped=winner.stopped > 0)
    text += (
        f": on {gain.only_best + gain.only_baseline} of {gain.images:,} images only one of the "
        "two is right"
    )
    if low > 0 or high < 0:
        yield (
            f"{text}, which is more than luck on these images (95 % interval {100 * low:+.2f} to "
            f"{100 * high:+.2f} points{corrected}), but not yet for other "
            "seeds."
        )
    else:
        yield f"{text}, so it may be chance."
