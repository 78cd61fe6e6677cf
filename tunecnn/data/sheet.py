"""`DataSheet`: what is known about the images of a run before any training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tunecnn.words import listed


@dataclass(frozen=True)
class DataSheet:
    """The images of a run, as counted before any training.

    Attributes:
        counts: number of images of each class, by part: `train`, `validation` and `test`.
        used: number of files that are images of the data set; None if it was not read from files
            of the user.
        left_out: number of files that are not, by reason.
        changed: number of images that were changed, mostly as a viewer does it, by change.
        bad: files that could not be read and were left out on request, with the reason.
        notes: sentences about what was inferred about the layout and the split.
        identical: number of images of a part that are identical to one of another part (or to
            another one of the same part), by `<part> in <other part>`.
        two_labels: number of images that are identical to an image of another class.
        near: number of images of a part that are almost identical to one of another part, by
            `<part> in <other part>`.
        examples: pairs of identical files, as `a = b`.
        different: number of different images of each part; one that is not there has no copies.
    """

    counts: Mapping[str, tuple[int, ...]]
    used: int | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    changed: Mapping[str, int] = field(default_factory=dict)
    bad: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    identical: Mapping[str, int] = field(default_factory=dict)
    two_labels: int = 0
    near: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    different: Mapping[str, int] = field(default_factory=dict)

    def majority(self, part: str) -> tuple[int, float]:
        """Return the label of the largest class of a part, and its share of the images."""
        counts = self.counts[part]
        largest = max(range(len(counts)), key=counts.__getitem__)
        return largest, counts[largest] / max(1, sum(counts))

    @property
    def is_unbalanced(self) -> bool:
        """Whether the largest class of the validation images is 1.5 times the mean class."""
        counts = self.counts["validation"]
        return max(counts) * len(counts) > 1.5 * sum(counts)

    def files_in_words(self) -> str:
        """Return how many of the user's files are used, and why the others are not.

        Empty if the data set was not read from files of the user.
        """
        if self.used is None:
            return ""
        text = f"used {self.used:,}, left out {sum(self.left_out.values()):,}"
        if self.left_out:
            text += ": " + ", ".join(f"{why} {count:,}" for why, count in self.left_out.items())
        if self.changed:
            changes = (f"{what} {count:,}" for what, count in self.changed.items())
            text += f"; changed: {', '.join(changes)}"
        return text

    def parts_in_words(self, classes: Sequence[str]) -> list[str]:
        """Return a line for each part, and one if the classes are unbalanced."""
        lines = []
        for part, counts in self.counts.items():
            label, share = self.majority(part)
            smallest = min(range(len(counts)), key=counts.__getitem__)
            if counts[smallest] == counts[label]:
                lines.append(f"{part}: {sum(counts):,} images, {counts[label]:,} of each class")
                continue
            lines.append(
                f"{part}: {sum(counts):,} images; largest class {classes[label]} "
                f"({counts[label]:,}, {share:.2%}), smallest {classes[smallest]} "
                f"({counts[smallest]:,})"
            )
        if self.is_unbalanced:
            label, share = self.majority("validation")
            lines.append(
                f"the classes are unbalanced: always answering {classes[label]} has a validation "
                f"accuracy of {share:.2%} (objectives: [val_balanced_accuracy] counts each class "
                "alike)"
            )
        return lines

    def warnings(self, classes: Sequence[str]) -> Iterator[str]:
        """Yield sentences about what makes accuracies on these images doubtful.

        Args:
            classes: name of each class.
        """
        for part, counts in self.counts.items():
            if absent := [name for name, count in zip(classes, counts, strict=True) if not count]:
                yield f"no {part} image is of {listed(absent)}, so {_WITHOUT[part]}"
        for pair, count in self.identical.items():
            part, other = pair.split(" in ")
            if part == other:
                yield f"{_images(count, part)} identical to another {part} image"
            else:
                yield (
                    f"{_images(count, part)} identical to {other} images, so accuracies on "
                    f"the {part} images are too high"
                )
        if self.two_labels:
            yield f"{_images(self.two_labels)} identical to an image of another class"
        if self.examples:
            yield f"for example, {'; '.join(self.examples)}"
        for pair, count in self.near.items():
            part, other = pair.split(" in ")
            yield f"{_images(count, part)} almost identical to {other} images"


_WITHOUT = {
    "train": "nothing is learned of it",
    "validation": "trials are compared without it",
    "test": "the test accuracy says nothing of it",
}
"""What follows if a part has no image of a class."""


def _images(count: int, part: str = "") -> str:
    """Return the beginning of a sentence: `1 test image is`, `2 test images are`."""
    of = f"{part} " if part else ""
    return f"{count:,} {of}image{' is' if count == 1 else 's are'}"
