"""The answer of a confirmation to its question, in sentences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from tunecnn.analysis.candidates import CandidateLine
from tunecnn.analysis.gains import Paired
from tunecnn.analysis.overview import Lead, balanced_in_words
from tunecnn.run.info import ConfirmationJob
from tunecnn.run.run import Run
from tunecnn.words import count_in_words

_FEW = 5
"""Fewer repeats measure their spread badly."""


def answer(
    run: Run, lines: Sequence[CandidateLine], trained_with: str, searched_with: str
) -> list[str]:
    """Return the sentences of the answer, the verdict first.

    Args:
        run: the confirmation.
        lines: its candidates, the best one first.
        trained_with: numbers of epochs and training images, in words.
        searched_with: those of the search, if they are other ones; else empty.
    """
    what = balanced_in_words(run.space.metric)
    also = []
    if searched_with:
        also.append(
            f"In the confirmation each was trained for {trained_with}, "
            f"in the search for {searched_with}."
        )
    also += _failed(run)
    if not run.has_ended:
        also.insert(
            0,
            (
                f"It has not ended: {run.ended} of {count_in_words(run.space.trials, 'training')} "
                "have, and the others may change this."
            ),
        )
    if not any(line.validation.values for line in lines):
        return ["No candidate has been trained to its end with a new seed yet.", *also]
    if reason := _not_compared(lines):
        pick = lines[0]
        mean = f"{pick.name} has {_validation(pick, what)}"
        alone = f"With {pick.validation.in_words}, {mean}; {reason}, so nothing is compared."
        return [alone, *_tested(pick, what), *also]
    compared = _baseline_is_best if lines[0].is_baseline else _candidate_is_best
    return [*compared(lines, what), *also]


def _failed(run: Run) -> Iterator[str]:
    """Say which trainings failed, if any did."""
    job = run.job_as(ConfirmationJob)
    failed = Counter(
        job.candidate_of(record.number).name for record in run.records if record.outcome.is_failure
    )
    if failed:
        whose = ", ".join(
            f"{one.name}: {failed[one.name]}" for one in job.candidates if one.name in failed
        )
        yield (
            f"Trainings that failed, and are left out: {failed.total()} of {run.space.trials} "
            f"({whose})."
        )


def _not_compared(lines: Sequence[CandidateLine]) -> str:
    """Say why no candidate is compared with the baseline; nothing if one is."""
    if len(lines) == 1:
        return "it is the only candidate"
    if (both := _beside_baseline(lines)) is None:
        missing = "no other candidate has" if lines[0].is_baseline else "the baseline has not"
        return f"{missing} been trained to its end with a new seed"
    if both[0].validation_gain.mean is None:
        return f"{both[0].name} shares no seed with the baseline"
    return ""


def _baseline_is_best(lines: Sequence[CandidateLine], what: str) -> Iterator[str]:
    """Say that nothing is ahead of the baseline, and what the next one is worth."""
    baseline, other = lines[0], next(one for one in lines[1:] if one.validation.values)
    headline = (
        f"nothing has a higher mean {what}validation accuracy than the baseline: "
        f"{baseline.validation.mean:.2%}"
    )
    verdict = _verdict(other, baseline, what)
    seeds = baseline.validation.values.keys()
    if any(line.validation.values and line.validation.values.keys() != seeds for line in lines):
        headline = (
            f"nothing is ahead of the baseline in mean {what}validation accuracy, with the "
            f"seeds that both have; its own is {baseline.validation.mean:.2%}"
        )
        shared = other.test.shared_with(baseline.test).in_words
        verdict = verdict and f"{verdict}, with the {shared} that both have"
    yield f"With {baseline.validation.in_words}, {headline}."
    yield from _tested(baseline, what)
    if verdict:
        yield f"{_capital(other.name)}, the next, {verdict}{_shrunk(other)}."
        yield from _about(other)


def _candidate_is_best(lines: Sequence[CandidateLine], what: str) -> Iterator[str]:
    """Say what the best candidate is worth beside the baseline."""
    pick, baseline = lines[0], next(line for line in lines if line.is_baseline)
    others = sum(bool(line.validation.values) for line in lines) - 1
    best = f"is the best of {others} candidates on the validation images"
    seeds = pick.validation.values.keys()
    if any(line.validation.values and line.validation.values.keys() != seeds for line in lines):
        best += ", with the seeds that it and the baseline have in common"
    found = f"{f'{best}:' if others > 1 else 'has'} {_validation(pick, what)}{_shrunk(pick)}"
    if (verdict := _verdict(pick, baseline, what)) is None:
        yield f"With {pick.validation.in_words}, {pick.name} {found}."
        yield from _tested(pick, what)
        return
    yield f"With {pick.test.shared_with(baseline.test).in_words}, {pick.name} {verdict}."
    yield from _about(pick)
    yield f"{_capital(pick.name)} {found}."


def _validation(line: CandidateLine, what: str) -> str:
    return f"{line.validation.mean:.2%} mean {what}validation accuracy"


def leads(run: Run, lines: Sequence[CandidateLine]) -> Iterator[Lead]:
    """Yield the best candidate beside the baseline, over the seeds of both, test images first."""
    if (both := _beside_baseline(lines)) is None:
        return
    pick, baseline = both
    balanced = balanced_in_words(run.space.metric)
    for where, ours, theirs, gain in (
        ("test", pick.test, baseline.test, pick.test_gain),
        ("validation", pick.validation, baseline.validation, pick.validation_gain),
    ):
        if gain.mean is None:
            continue
        yield Lead(
            f"{where} images, {balanced}mean of {ours.shared_with(theirs).in_words}",
            pick.name,
            ours.shared_with(theirs).mean or 0.0,
            theirs.shared_with(ours).mean or 0.0,
            gain.mean,
            gain.interval,
        )


def _enough_in_words(gain: Paired) -> str:
    """Say how many repeats would find half a point, by the spread of those that there are."""
    guess = f", as far as {len(gain.values)} tell" if len(gain.values) < _FEW else ""
    if gain.repeats_for_half_a_point is not None:
        return f"half a point with about {gain.repeats_for_half_a_point} {gain.repeat}s{guess}"
    if gain.has_too_few_images:
        return f"half a point by no number of {gain.repeat}s, with so few test images{guess}"
    return f"half a point not even with {gain.most_repeats:,} {gain.repeat}s{guess}"


def _beside_baseline(lines: Sequence[CandidateLine]) -> tuple[CandidateLine, CandidateLine] | None:
    """Return the best candidate that is not the baseline, and the baseline, if both have seeds."""
    trained = [line for line in lines if line.validation.values]
    baseline = next((line for line in trained if line.is_baseline), None)
    other = next((line for line in trained if not line.is_baseline), None)
    return (other, baseline) if other and baseline else None


def _verdict(line: CandidateLine, baseline: CandidateLine, what: str) -> str | None:
    """Say what a candidate is worth beside the baseline; None before both are tested."""
    gain = line.test_gain
    if gain.mean is None:
        return None
    mean = line.test.shared_with(baseline.test).mean
    side = "above" if gain.mean >= 0 else "below"
    text = (
        f"is {100 * abs(gain.mean):.2f} points {side} the baseline in mean {what}test accuracy, "
        f"{mean:.2%}: {gain.verdict}"
    )
    if gain.interval is not None:
        low, high = gain.interval
        text += f" (95 % interval {100 * low:+.2f} to {100 * high:+.2f} points)"
    return text


def _about(line: CandidateLine) -> Iterator[str]:
    """Yield what a verdict rests on."""
    gain = line.test_gain
    if gain.verdict == "not told from noise" and gain.detectable is not None:
        yield (
            f"A true difference of {100 * gain.detectable:.2f} points would have been found in "
            f"80 of 100 cases; {_enough_in_words(gain)}."
        )
    where = "in" if gain.repeat == "split" else "with"
    ahead = f"It is ahead {where} {gain.ahead} of {count_in_words(len(gain.values), gain.repeat)}"
    if gain.interval is not None:
        over = "seeds and images, in one split of the data"
        if gain.repeat == "split":
            over = "splits of the data, seeds and images"
        whose = "Student's" if gain.candidates == 1 else "Dunnett's"
        ahead += f"; the interval is {whose}, over {over}"
        if gain.candidates > 1:
            ahead += f", corrected for {gain.candidates} candidates"
    yield f"{ahead}."


def _tested(line: CandidateLine, what: str) -> list[str]:
    """Say what a candidate reaches on the test images, where nothing is compared with it."""
    if line.test.mean is None:
        return [f"{_capital(line.name)} has not been tested yet."]
    return [f"{_capital(line.name)} has a mean {what}test accuracy of {line.test.mean:.2%}."]


def _shrunk(line: CandidateLine) -> str:
    """Say by how much the search had overstated a candidate."""
    if line.shrinkage is None:
        return ""
    others = ", on other validation images" if line.validation.splits else ""
    points = f"{100 * abs(line.shrinkage):.2f} points"
    if points == "0.00 points":
        return f"; the search found the same{others}"
    how = "overstated" if line.shrinkage > 0 else "understated"
    return f"; the search {how} it by {points} ({line.search_accuracy:.2%}){others}"


def _capital(name: str) -> str:
    """Begin a sentence with a candidate; the name of a file stays as it is."""
    return re.sub(r"^(trial \d|the baseline)", lambda found: found[0].capitalize(), name)
