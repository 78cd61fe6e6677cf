"""What Python code calls, as in a notebook: search, reproduce, and a run that can go on.

The same workflows as those of the command line, with Python's values in the place of files: a
class in the place of `file.py:Name`, arrays in the place of a data set's name.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from tunecnn.data.loading import default_data_dir
from tunecnn.data.sources.given import store_given
from tunecnn.errors import InputError, nearest
from tunecnn.files import expanded
from tunecnn.listeners.several import Several
from tunecnn.process import EndedAtOnceError, Interrupted
from tunecnn.run.listener import Listener
from tunecnn.run.run import Run as StoredRun
from tunecnn.space.parameters import plain
from tunecnn.space.schema import SpaceSchema
from tunecnn.study.study import Study
from tunecnn.trial.config import TrialConfig
from tunecnn.workflows.confirm import confirm
from tunecnn.workflows.confirmation_space import TrainingScale
from tunecnn.workflows.found_model import best_model_of
from tunecnn.workflows.given import Network, network_given, space_given
from tunecnn.workflows.options import (
    BY_NAME,
    IN_PROCESS,
    INTERNAL,
    NEW_RUN,
    RANGES,
    SAME_FOLDER,
    RunOptions,
)
from tunecnn.workflows.prepare import Prepared, places_of
from tunecnn.workflows.reproduce import reproduce as start_reproduction
from tunecnn.workflows.search import resume
from tunecnn.workflows.search import search as start_search
from tunecnn.workflows.session import Listening
from tunecnn.workflows.warm_start import warm_start

if TYPE_CHECKING:
    from tunecnn.trial.trained import TrainedModel

_IN_SEARCH = dict.fromkeys(("runs_dir", "name"), "a confirmation is in the folder of its search")
_TESTED = {"keep_weights": "all trials that are tested keep their weights"}
_GIVEN = "given.npz"  # stands for images of Python until they have a name


class Run(StoredRun):
    """A run that can go on: `tunecnn.run.run.Run`, and `resume` and `confirm`.

    It is a snapshot: `tunecnn.load_run(run.path)` gives a newer one.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(expanded(path).absolute())  # a notebook may change its folder

    def load_model(self, trial: int | None = None) -> TrainedModel:
        """Load the network of a trial.

        Args:
            trial: number of the trial; None for the one that a confirmation has found to be the
                best, or else the best.

        Raises:
            InputError: if there is no such trial, or its weights were not kept.
            RunError: if its weights cannot be read, or are damaged.
        """
        return super().load_model(best_model_of(self) if trial is None else trial)

    def resume(
        self,
        more_trials: int = 0,
        *,
        budget: Mapping[str, float] | None = None,
        listeners: Sequence[Listener] = (),
        **options: Any,
    ) -> Run:
        """Resume the run after an interruption, or add trials to it.

        Args:
            more_trials: number of trials to add.
            budget: limits that replace those of the run, as in a space: `{"hours": 12}`.
            listeners: listeners that are called beside the one that shows the progress.
            **options: options of the run: `tunecnn.workflows.options.RunOptions`.

        Returns:
            The run as it is then.

        Raises:
            InputError: if its data have changed, or an argument is invalid.
            RunError: if the run had to stop; it can be resumed.
        """
        found = _options(options, self.resume, SAME_FOLDER)
        more = plain(more_trials)
        if not isinstance(more, int) or isinstance(more, bool):
            raise InputError(f"more_trials must be a whole number, not {more_trials!r}")
        if not isinstance(budget or {}, Mapping):
            raise InputError(f"budget must be a mapping, such as {{'hours': 12}}, not {budget!r}")
        limits = plain(dict(budget or {}))
        with _interruptible():
            result = resume(self.path, found, _listening(listeners), more, limits)
        return type(self)(result.folder)

    def confirm(
        self,
        top: int = 3,
        seeds: int = 5,
        configs: Mapping[str, TrialConfig] | None = None,
        *,
        splits: int | None = None,
        train_images: int | Literal["all"] | None = None,
        epochs: int | None = None,
        listeners: Sequence[Listener] = (),
        **options: Any,
    ) -> Run:
        """Train the best trials of a search and the baseline again with new seeds, and test them.

        Args:
            top: number of its best trials.
            seeds: number of new seeds per candidate and split of the data.
            configs: other configurations, by name.
            splits: number of new splits of the data; None for that of the search's space, 1
                for the split of the search.
            train_images: number of training images, or `all`; None for that of the search.
            epochs: number of epochs; None for that of the search.
            listeners: listeners that are called beside the one that shows the progress.
            **options: options of the run: `tunecnn.workflows.options.RunOptions`.

        Returns:
            The confirmation, a run of its own.

        Raises:
            InputError: if there is nothing to confirm, or an argument is invalid.
            RunError: if the run had to stop; the same call resumes it.
        """
        where = _listening(listeners)
        found = _options(options, self.confirm, {**_IN_SEARCH, **_TESTED})
        top, seeds, splits, train_images, epochs = plain(
            [top, seeds, splits, train_images, epochs]
        )
        scale = TrainingScale(train_images, epochs)
        configs = {} if configs is None else configs
        if not isinstance(configs, Mapping) or not all(isinstance(one, str) for one in configs):
            raise InputError("configs must be configs by their names, such as {'mine': config}")
        for one in configs.values():
            if not isinstance(one, TrialConfig):
                raise InputError(
                    f"configs has {type(one).__name__}s; give a tunecnn.TrialConfig for each name"
                )
        try:
            with _interruptible():
                result = confirm(self.path, top, seeds, configs, found, where, splits, scale)
        finally:
            self.__dict__.pop("confirmations", None)  # which were read before
        return type(self)(result.folder)


def load_run(path: str | Path | StoredRun) -> Run:
    """Load a run from its folder, even while it is running; of a run, a newer snapshot.

    Raises:
        InputError: if it is not the folder of a run.
        RunError: if its journal is damaged.
    """
    return Run(path.path if isinstance(path, StoredRun) else path)


def search(
    space: str | Path | Mapping[str, Any],
    network: Network | str | None = None,
    data: Any = None,
    *,
    trials: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    start_from: str | Path | StoredRun | None = None,
    listeners: Sequence[Listener] = (),
    **options: Any,
) -> Run:
    """Search a space: train many configurations, prune weak ones, and summarize the run.

    Args:
        space: a space file, the name of a shipped space, or a mapping with the keys of a space,
            whose parameters may be `tunecnn.Float`, `Int` and `Choice`.
        network: class or function of the network, or its name; None for the space's, whose
            `architecture` may be a class or function too. A class that a notebook defines is kept
            with its source.
        data: images: the name of a data set, two arrays (images, labels), a mapping such as
            `{"train_images": ..., "train_labels": ..., "test_images": ..., "test_labels": ...}`,
            or a data set that indexes to (image, label); None for the space's.
        trials: number of trials; None for the space's.
        epochs: epochs per full trial; None for the space's.
        seed: seed; None for the space's.
        start_from: run of an earlier search, or its folder, whose best trials are start points,
            as with `tunecnn search --from`; None for none.
        listeners: listeners that are called beside the one that shows the progress.
        **options: options of the run, such as `local`, `name` and `runs_dir`:
            `tunecnn.workflows.options.RunOptions`.

    Returns:
        The run; if it was interrupted, `run.resume()` goes on.

    Raises:
        InputError: if an argument is invalid; nothing has been trained then.
        RunError: if the run had to stop; it can be resumed.
    """
    found = _options(options, search, _without_session(options))
    listening = _listening(listeners)
    if network is None and isinstance(space, Mapping) and callable(space.get("architecture")):
        network = space["architecture"]
        space = {key: value for key, value in space.items() if key != "architecture"}
    changes: dict[str, Any] = plain({"trials": trials, "epochs": epochs, "seed": seed})
    changes = {key: value for key, value in changes.items() if value is not None}
    with network_given(network) as (architecture, folder):
        check = space_given(space, architecture, folder)
        if isinstance(data, str | Path):
            changes["dataset"] = str(data)
        elif data is not None:
            place = (found.data_dir or default_data_dir()) / "given"
            in_use, _ = check({**changes, "dataset": _GIVEN})
            changes["dataset"] = store_given(data, place, in_use.image_options)
        checked, text = check(changes)
        if start_from is not None:
            path = start_from.path if isinstance(start_from, StoredRun) else Path(start_from)
            changes["start"] = warm_start(checked, path).start
            checked = checked.override(start=changes["start"])
        prepared = Prepared(checked, text, {**changes, **places_of(checked)})
        for warning in checked.warnings():
            warnings.warn(warning, stacklevel=2)
        with _interruptible():
            return Run(start_search(prepared, found, listening).folder)


def reproduce(
    dataset: str,
    against: str | None = None,
    models: Sequence[str] | None = None,
    seeds: int | None = None,
    epochs: int | None = None,
    *,
    listeners: Sequence[Listener] = (),
    **options: Any,
) -> Run:
    """Train the published networks with the published protocol and several seeds, and test them.

    Args:
        dataset: name of the data set to train on.
        against: data set whose published results to compare with; None for `dataset` itself,
            `none` for no comparison.
        models: names of the networks; None for all three.
        seeds: number of seeds per network; None for three.
        epochs: epochs per training; None for the published number.
        listeners: listeners that are called beside the one that shows the progress.
        **options: options of the run: `tunecnn.workflows.options.RunOptions`.

    Raises:
        InputError: if an argument is invalid; nothing has been trained then.
        RunError: if the run had to stop; it can be resumed.
    """
    without = {**_without_session(options), **_TESTED}
    where, found = _listening(listeners), _options(options, reproduce, without)
    models, seeds, epochs = plain([models, seeds, epochs])
    with _interruptible():
        done = start_reproduction(dataset, against, models, seeds, epochs, found, where)
    return Run(done.folder)


def _without_session(given: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the options that have no effect on a new run, unless it may exist already."""
    return NEW_RUN if given.get("resume_or_start") is None else {}


def _options(
    given: Mapping[str, Any], called: Callable[..., Any], without: Mapping[str, str]
) -> RunOptions:
    """Return the options of a run.

    Args:
        given: values by name.
        called: function that was called, whose other arguments may be meant.
        without: options that have no effect, and why.

    Raises:
        InputError: for a wrong name or value, or one that would have no effect.
    """
    own = [
        name
        for name, one in inspect.signature(called).parameters.items()
        if one.kind is not one.VAR_KEYWORD
    ]
    known = [one.name for one in fields(RunOptions) if one.name not in INTERNAL]
    values = {
        name: one.item() if isinstance(one, np.generic) else one for name, one in given.items()
    }
    for name in given:
        if name not in known:
            if "space" in own and name in SpaceSchema.model_fields:
                raise InputError(f"{name} is a key of the space: write it there")
            raise InputError(f"unknown option {name!r}; {nearest(name, [*own, *known])}")
    for name in ("data_dir", "runs_dir"):
        if isinstance(values.get(name), str):
            values[name] = Path(values[name])
    if isinstance(values.get("name"), Path):
        values["name"] = str(values["name"])
    if isinstance(values.get("track"), str):
        values["track"] = (values["track"],)
    if isinstance(values.get("track"), list | set | frozenset):
        values["track"] = tuple(values["track"])
    for name, allowed in get_type_hints(RunOptions).items():
        if name in values and name not in RANGES and not _is_of(values[name], allowed):
            raise InputError(f"{name} cannot be {_type(values[name])}")
    options = RunOptions(**values)
    _refuse(options, without, "here")
    if options.local:
        _refuse(options, IN_PROCESS, "beside local=True")
    if options.resume_or_start is not None:
        _refuse(options, BY_NAME, "beside resume_or_start")
    return options


def _refuse(options: RunOptions, reasons: Mapping[str, str], where: str) -> None:
    """Refuse options that have no effect, unless they have their default."""
    for one in fields(RunOptions):
        if one.name in reasons and getattr(options, one.name) != one.default:
            raise InputError(
                f"{one.name} has no effect {where}, since {reasons[one.name]}; leave it out"
            )


def _is_of(value: object, allowed: Any) -> bool:
    """Return whether a value is of one of the types that an option may have."""
    types = get_args(allowed) if isinstance(allowed, UnionType) else (allowed,)
    if bool in types and isinstance(value, int):
        return value in (0, 1)
    return isinstance(value, tuple(get_origin(one) or one for one in types))


def _type(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"{value!r}, of type {type(value).__name__}"


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let an interrupt be one: a loop of searches that goes on after errors ends with it."""
    try:
        yield
    except EndedAtOnceError as error:
        raise Interrupted(str(error)) from error


def _listening(listeners: Sequence[Listener]) -> Listening:
    """Return what opens the listener that shows the progress, and those that are given."""
    if not isinstance(listeners, Iterable):
        raise InputError(f"listeners must be a list of listeners, not {_type(listeners)}")
    given = list(listeners)
    if wrong := [one for one in given if not isinstance(one, Listener)]:
        raise InputError(f"a listener is an object of a tunecnn.Listener, not {_type(wrong[0])}")

    @contextlib.contextmanager
    def opened(study: Study, folder: Path) -> Iterator[Listener]:
        with _progress(study, folder) as progress:
            yield Several([progress, *given])

    return opened


def _progress(study: Study, folder: Path) -> AbstractContextManager[Listener]:
    shell = sys.modules.get("IPython")
    if shell is not None and getattr(shell.get_ipython(), "kernel", None) is not None:
        from tunecnn.listeners.notebook import Notebook

        return nullcontext(Notebook(study, folder))
    from tunecnn.console import PlainConsole
    from tunecnn.listeners.terminal import Terminal

    return Terminal.of_run(study, folder, PlainConsole()).shown()
