"""The candidates of a search, and the space that trains each again with the same new seeds."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tunecnn.data.images import Dataset
from tunecnn.data.options import IMAGE_OPTIONS, ImageOptions
from tunecnn.documents import MAX_VALUES, to_yaml
from tunecnn.errors import InputError
from tunecnn.run.info import CandidateRecord, ConfirmationJob, ScaleRecord
from tunecnn.run.run import Run
from tunecnn.space.space import SearchSpace
from tunecnn.trial.config import NET, Scalar, TrialConfig, derive_seed
from tunecnn.trial.messages import Outcome
from tunecnn.trial.recipes import make_config

_DATA = ("dataset", "split", "split_seed", "validation", "train_images", *IMAGE_OPTIONS)
_FRESH = 0xC0F1  # makes the seeds of a confirmation differ from those of the search's trials
_SPLITS = 0x5B117  # and its splits from that of the search


@dataclass(frozen=True)
class TrainingScale:
    """How much each candidate is trained, where it is not as much as in the search.

    A search on a part of the images, or of fewer epochs, is cheap; what its best trials are worth
    with all images is seen by training only these, and the baseline, with them.

    Attributes:
        train_images: number of training images, or `all`; None for that of the search.
        epochs: number of epochs; None for that of the search.
    """

    train_images: int | Literal["all"] | None = None
    epochs: int | None = None

    def changes(self, run: Run) -> dict[str, int | None]:
        """Return the settings, by name, in which a candidate is not trained as in the search."""
        wanted: dict[str, int | None] = {}
        if self.train_images not in (None, run.info.dataset.train):
            wanted["train_images"] = None if self.train_images == "all" else self.train_images
        if self.epochs is not None:
            wanted["epochs"] = self.epochs
        searched = {"train_images": run.space.data_split.train_images, "epochs": run.space.epochs}
        return {name: value for name, value in wanted.items() if value != searched[name]}


AS_SEARCHED = TrainingScale()


@dataclass(frozen=True)
class Candidate:
    """A configuration to confirm.

    Attributes:
        name: name in the summary: `trial 15`, `the baseline`, or the name of a config file.
        config: configuration, whose seed is not used.
        is_baseline: whether it is the baseline, with which the others are compared.
        search_accuracy: validation accuracy in the search; None if it was not trained to its end
            there.
    """

    name: str
    config: TrialConfig
    is_baseline: bool = False
    search_accuracy: float | None = None


def candidates_of(
    run: Run,
    top: int,
    configs: Mapping[str, TrialConfig],
    splits: int = 1,
    scale: TrainingScale = AS_SEARCHED,
) -> list[Candidate]:
    """Return the candidates of a confirmation: the best trials, the baseline, and other configs.

    Args:
        run: search with complete trials.
        top: number of its best trials.
        configs: other configurations, by name.
        splits: number of splits of the data; with several, the config's own does not matter.
        scale: how much each is trained.

    Raises:
        InputError: if there is nothing to confirm, or a config has other data than the run, or the
            name of another candidate, or cannot be trained at that scale.
    """
    if run.ranked.empty:
        raise InputError(
            f"{run.path} has no trial that was trained to its end; there is none to confirm"
        )
    changes = {"seed": 0, "epochs": run.space.epochs, **scale.changes(run)}
    trials = run.configurations["trial"].head(top)
    candidates = [*(_of_trial(run, int(trial)) for trial in trials), _baseline(run)]
    candidates = [_changed(one, changes) for one in candidates]
    for name, given in configs.items():
        if name in {candidate.name for candidate in candidates}:
            raise InputError(f"another candidate is called {name!r}; give the config another name")
        config = _with_code(run, name, given).replace(**changes)
        if splits > 1:
            config = config.replace(split_seed=candidates[0].config.split_seed)
        for field in _DATA:
            theirs, ours = getattr(config, field), getattr(candidates[0].config, field)
            if theirs != ours:
                raise InputError(f"{name} has {field} = {theirs!r}, but the run has {ours!r}")
        candidates.append(Candidate(name, config))
    return _without_twins(run, candidates)


def confirmation_space(
    run: Run, candidates: Sequence[Candidate], seeds: int, splits: int = 1
) -> str:
    """Write the space of a confirmation: every candidate with every seed, for all its epochs.

    The seeds are new and the same for each candidate, so that comparisons of candidates are
    paired. Of several splits of the data, all are new, as the candidates were chosen by that
    of the search; each has seeds of its own. All splits have their first seed before any has its
    second, so that an interrupted confirmation has something of each.

    Args:
        run: search.
        candidates: candidates of the confirmation.
        seeds: number of new seeds in each split.
        splits: number of splits of the data; 1 for that of the search.

    Raises:
        InputError: if the run's recipe cannot express a candidate.
    """
    settings = _settings(run, candidates)
    varied = _varied(settings)
    # Other candidates get other seeds, as they may have been chosen by an earlier confirmation.
    different = [{name: one.get(name) for name in varied} for one in settings]
    text = json.dumps([different, candidates[0].config.epochs], sort_keys=True)
    base = derive_seed(run.space.seed, zlib.crc32(text.encode()), seeds, splits)
    fresh = [derive_seed(base, _FRESH, number) for number in range(seeds * splits)]
    split_seeds = [derive_seed(base, _SPLITS, number) for number in range(splits)]
    repeats = [
        {"seed": seed, **({"split_seed": split_seeds[number % splits]} if splits > 1 else {})}
        for number, seed in enumerate(fresh)
    ]
    parameters: dict[str, Any] = {
        name: value
        for name, value in settings[0].items()
        if name not in varied and name != "architecture"
    }
    parameters["seed"] = {"choice": fresh}
    if splits > 1:
        parameters["split_seed"] = {"choice": split_seeds}
    for name in varied:
        having = [values for values in settings if name in values]
        parameters[name] = {"choice": list(dict.fromkeys(values[name] for values in having))}
        if len(having) < len(settings):  # networks without this argument
            networks = list(dict.fromkeys(values["architecture"] for values in having))
            parameters[name]["when"] = {"architecture": networks}
    name = f" {run.space.name}" if "name" in run.space.model_fields_set else ""
    space = {
        "name": "confirm",
        "goal": f"Does what the search{name} found hold with new seeds?",
        "dataset": run.space.dataset,
        **_not_default(run.space.image_options),
        "architecture": settings[0]["architecture"],
        **({"code": list(run.info.code.files)} if run.info.code else {}),
        "recipe": run.space.recipe,
        "epochs": candidates[0].config.epochs,
        "objectives": [run.space.metric],
        **({"splits": splits} if splits > 1 else {}),
        "trials": len(candidates) * len(repeats),
        "parameters": parameters,
        "start": [
            repeat | {name: values[name] for name in varied if name in values}
            for repeat in repeats
            for values in settings
        ],
        "sampler": "grid",
        "pruner": "none",
    }
    text = to_yaml(space)
    space_made = SearchSpace.from_text(text, "confirmation", run.path / "code")
    _check(run, space_made, candidates, settings, varied)
    return text


def check_splits(space: SearchSpace, dataset: Dataset) -> None:
    """Check that images can be divided anew, if a confirmation in several splits needs it.

    Raises:
        InputError: if they cannot.
    """
    if space.splits > 1 and dataset.fixed_split:
        raise InputError(f"splits: {space.splits}: {dataset.fixed_split}")


def check_confirmable(space: SearchSpace, top: int, seeds: int, splits: int) -> None:
    """Check before a search that it can be confirmed.

    Raises:
        InputError: if the confirmation would be too large, or have no baseline.
    """
    _check_baseline(space)
    per_training = len(space.searched_settings) + 2
    most = MAX_VALUES // per_training
    if (top + 1) * seeds * splits > most:
        raise InputError(
            f"a confirmation of {top} trials and the baseline with {seeds} seeds in {splits} "
            f"splits is {(top + 1) * seeds * splits:,} trainings; the limit for "
            f"{per_training - 2} parameters is {most:,}"
        )


def job_of(
    run: Run, candidates: Sequence[Candidate], scale: TrainingScale = AS_SEARCHED
) -> ConfirmationJob:
    """Return the record of the candidates for a confirmation's run."""
    settings = _settings(run, candidates)
    varied = _varied(settings)
    return ConfirmationJob(
        search=run.info.id,
        searched_with=ScaleRecord(epochs=run.space.epochs, train=run.info.dataset.train)
        if scale.changes(run)
        else None,
        candidates=tuple(
            CandidateRecord(
                name=candidate.name,
                is_baseline=candidate.is_baseline,
                search_accuracy=candidate.search_accuracy,
                values={name: values[name] for name in varied if name in values},
            )
            for candidate, values in zip(candidates, settings, strict=True)
        ),
    )


def _of_trial(run: Run, trial: int) -> Candidate:
    return Candidate(f"trial {trial}", run.config(trial), False, _accuracy(run, trial))


def _accuracy(run: Run, trial: int) -> float:
    """Return the accuracy by which the search ranks a trial: the mean over seeds of its values."""
    return float(run.ranked.loc[run.ranked["trial"] == trial, "mean"].iloc[0])


def _baseline(run: Run) -> Candidate:
    """Return the baseline, trained as the search trains it, with its accuracy there.

    The settings that the space fixes are the same for all candidates: only those that it searches
    shall differ. Arguments of the network that it fixes at other values are what it is about.
    """
    accuracy = None
    if run.baseline_trial is not None and run.baseline_trial["outcome"] == Outcome.COMPLETE:
        accuracy = _accuracy(run, int(run.baseline_trial["trial"]))
    _check_baseline(run.space)
    own = {name: default for name, (default, _) in run.space.departures().items()}
    config = run.space.config(own | run.space.baseline_point())
    return Candidate("the baseline", config, True, accuracy)


def _check_baseline(space: SearchSpace) -> None:
    """Check that a search has a baseline to compare with.

    Raises:
        InputError: if it has none.
    """
    network = space.network()
    for name in network.signature.required:
        if f"{NET}{name}" in space.searched:
            raise InputError(
                f"{name} of {network.signature.name} has no default, so there is no baseline to "
                "compare with; give it one"
            )
    for name in space.without_baseline():
        raise InputError(
            f"{name} is searched, and recipe {space.recipe} has none, so there is no baseline to "
            "compare with"
        )


def _changed(candidate: Candidate, changes: Mapping[str, int | None]) -> Candidate:
    """Set what is the same for all candidates; the space sets the real seeds."""
    return dataclasses.replace(candidate, config=candidate.config.replace(**changes))


def _with_code(run: Run, name: str, config: TrialConfig) -> TrialConfig:
    """Return a config whose network is in a file of the run with the hash of that.

    Raises:
        InputError: if it was made with other code.
    """
    code = run.info.code
    if code is None or config.architecture not in run.space.architectures:
        return config
    ours = code.hash if config.network.is_own_file else None
    if config.code not in (None, ours):
        raise InputError(
            f"{name} was made with other code of {config.architecture} (hash {config.code}) than "
            f"the run (hash {code.hash}); remove code: from it to use the run's"
        )
    return config.replace(code=ours)


def _without_twins(run: Run, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Merge candidates with the same configuration, so that none is trained twice."""
    distinct: list[Candidate] = []
    for candidate in candidates:
        for index, other in enumerate(distinct):
            if run.training_of(candidate.config) == run.training_of(other.config):
                distinct[index] = dataclasses.replace(
                    other,
                    name=f"{other.name} ({candidate.name})",
                    is_baseline=other.is_baseline or candidate.is_baseline,
                )
                break
        else:
            distinct.append(candidate)
    return distinct


def _settings(run: Run, candidates: Sequence[Candidate]) -> list[dict[str, Scalar]]:
    """Return, per candidate, its value of each setting in which any departs from the recipe.

    An argument that the network of a candidate does not have is left out there.
    """
    names = {"architecture"}
    whole = []
    for candidate in candidates:
        given = candidate.config.to_dict()
        recipe = make_config(run.space.recipe, candidate.config.architecture, run.space.dataset)
        base = {**run.arguments_of(recipe), **recipe.to_dict()}
        names |= {name for name, value in given.items() if base.get(name) != value}
        whole.append({**base, **given})
    names -= {"dataset", "epochs", "seed", "code", *IMAGE_OPTIONS}
    for candidate, values in zip(candidates, whole, strict=True):
        network = values["architecture"]
        needed = {name for other in whole if other["architecture"] == network for name in other}
        if missing := sorted(names & needed - set(values)):
            raise InputError(
                f"{candidate.name} has no {missing[0]}, but another candidate has it; they cannot "
                "be compared"
            )
    return [{name: values[name] for name in sorted(names) if name in values} for values in whole]


def _not_default(options: ImageOptions) -> dict[str, Scalar]:
    """Return the image options that are not the defaults, as keys of a space."""
    defaults = ImageOptions()
    return {
        name: value for name, value in vars(options).items() if value != getattr(defaults, name)
    }


def _varied(settings: Sequence[Mapping[str, Scalar]]) -> list[str]:
    names = dict.fromkeys(name for values in settings for name in values)
    return [name for name in names if len({values.get(name) for values in settings}) > 1]


def _check(
    run: Run,
    space: SearchSpace,
    candidates: Sequence[Candidate],
    settings: Sequence[Mapping[str, Scalar]],
    varied: Sequence[str],
) -> None:
    """Check that the space makes exactly the configurations of the candidates."""
    for candidate, values in zip(candidates, settings, strict=True):
        made = space.config({name: values[name] for name in varied if name in values})
        if run.training_of(made) != run.training_of(candidate.config):
            raise InputError(
                f"{candidate.name} cannot be confirmed with the others: it has widths per block "
                "and they per convolution, or it lacks a setting of the recipe"
            )
