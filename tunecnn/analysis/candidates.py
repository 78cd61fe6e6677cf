"""`CandidateLine`: what a confirmation found of one configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunecnn.analysis.gains import OverSeeds, Paired


@dataclass(frozen=True)
class CandidateLine:
    """One confirmed configuration.

    Attributes:
        name: name of the candidate, as in `tunecnn.workflows.confirmation_space.Candidate`.
        is_baseline: whether it is the baseline.
        values: settings in which the candidates differ, by name.
        search_accuracy: validation accuracy in the search, from one seed; None if it had none, or
            trained with other numbers of epochs and images.
        validation: validation accuracy with the new seeds, as the search ranks by it.
        test: test accuracy with the new seeds, of the same type.
        validation_gain: difference to the baseline in validation accuracy with the same seeds.
        test_gain: difference to the baseline in test accuracy with the same seeds.
    """

    name: str
    is_baseline: bool
    values: dict[str, Any]
    search_accuracy: float | None
    validation: OverSeeds
    test: OverSeeds
    validation_gain: Paired
    test_gain: Paired

    @property
    def shrinkage(self) -> float | None:
        """Overstatement by the search: its validation accuracy minus the new mean."""
        if self.search_accuracy is None or self.validation.mean is None:
            return None
        return self.search_accuracy - self.validation.mean
