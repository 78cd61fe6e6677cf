"""Where a trial comes from: its part of the study, and who chose its values."""

from __future__ import annotations

from enum import StrEnum


class Source(StrEnum):
    """Part of a study that a trial belongs to; each has rungs of its own."""

    SEARCH = "search"
    RANDOM_BASELINE = "random_baseline"


class Proposal(StrEnum):
    """Who chose the values of a trial: the space, a random sample, or the sampler's model."""

    START = "start"
    GRID = "grid"
    RANDOM = "random"
    MODEL = "model"
