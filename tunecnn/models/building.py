"""Building of networks, from their code, which is imported for as long as it is needed."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import os
import random
import re
import sys
import tempfile
import traceback
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import ModuleType, NoneType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from tunecnn.errors import InputError, text_of
from tunecnn.models.architecture import PUBLISHED, Architecture
from tunecnn.models.code import NetworkCode
from tunecnn.models.designs import InputShape, unknown_architecture
from tunecnn.models.randomness import random_state_of
from tunecnn.models.signature import CLASSES_NAMES, INPUT_NAMES

_folder: Path | None = None  # of the code that can be imported now
_code: NetworkCode | None = None
_imported: dict[str, tuple[tempfile.TemporaryDirectory[str], dict[str, ModuleType]]] = {}


class NetworkError(InputError):
    """A network cannot be imported, built or used; the message says which, and why."""


def build_model(
    architecture: str, input_shape: InputShape, classes: int = 10, **params: Any
) -> nn.Module:
    """Build one of the published networks, with any of its arguments changed.

    Args:
        architecture: name of the architecture: `model1`, `model2` or `proposed`.
        input_shape: channels, height and width of one image.
        classes: number of classes.
        **params: arguments of the class in `tunecnn.models.published`, such as `width`,
            `width_block1`, `dropout_block1` and `dense_units`; those that are not given keep the
            published values.

    Returns:
        A module that maps float images (n, C, H, W) to logits (n, classes).

    Raises:
        InputError: for an unknown architecture or argument, a width below 1, a dropout outside
            [0, 1), or an input that is too small for the pools.
    """
    if architecture not in PUBLISHED:
        raise InputError(unknown_architecture(architecture))
    return build(Architecture(architecture, Path()), params, input_shape, classes)


def build(
    architecture: Architecture, given: Mapping[str, Any], input_shape: InputShape, classes: int
) -> nn.Module:
    """Build a network, on torch's default device and from its default generator.

    The code of a network in a file must be importable: see `importable`.

    Args:
        architecture: network to build.
        given: its arguments, apart from the input's shape and the number of classes.
        input_shape: channels, height and width of one image.
        classes: number of classes.

    Raises:
        NetworkError: if it cannot be imported or built, or is no module of torch.
        InputError: if an argument of a published network is not allowed.
    """
    if architecture.is_published:
        for _, problem in architecture.problems(given):
            raise InputError(problem)
    made = load(architecture)
    takes = {
        "input_shape": input_shape,
        "in_channels": input_shape[0],
        **dict.fromkeys(CLASSES_NAMES, classes),
    }
    own = {name: takes[name] for name in _settable(made)}
    try:
        with _seeds_refused(architecture.attribute):
            network = _called(made, own, _with_members(made, given))
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise NetworkError(
            f"{architecture.attribute} cannot be built with {_in_words(given)}: {describe(error)}"
        ) from error
    if not isinstance(network, nn.Module):
        raise NetworkError(
            f"{architecture.attribute} returned {type(network).__name__}, not a torch.nn.Module"
        )
    return network


def load(architecture: Architecture) -> Callable[..., Any]:
    """Import the module of a network, and return its class or function.

    Raises:
        NetworkError: if the import fails, or finds no such class or function.
    """
    name = architecture.module
    if architecture.is_own_file:
        if _folder is None:
            raise NetworkError(
                f"the code of {architecture.name} is not at hand; train its config with tunecnn "
                "train --config, beside its code"
            )
        name = ".".join(Path(name).with_suffix("").parts)
    try:
        # The file may seed a generator, or draw constants; who loads it next finds it imported.
        is_new = name not in sys.modules
        with random_state_of(0), _process_kept(name) if is_new else contextlib.nullcontext():
            found = getattr(importlib.import_module(name), architecture.attribute, None)
    except (Exception, SystemExit) as error:
        raise NetworkError(
            f"{architecture.module} cannot be imported: {describe(error)}"
        ) from error
    if not callable(found):
        raise NetworkError(
            f"{architecture.module} has no class or function {architecture.attribute!r}"
        )
    return found  # type: ignore[no-any-return]


@contextlib.contextmanager
def _process_kept(name: str) -> Iterator[None]:
    """Import a module as a script of its own, and put back what it sets for the whole process.

    The networks of a search share their processes with tunecnn itself: without gradients, in
    another folder or in float64, others would fail, or train otherwise.
    """
    gradients, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    device, folder = torch.get_default_device(), _working_folder()
    numbers, arguments = np.geterr(), sys.argv
    sys.argv = [name]  # which it may parse
    try:
        with warnings.catch_warnings():
            yield
    finally:
        sys.argv = arguments
        np.seterr(**numbers)
        torch.set_grad_enabled(gradients)
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        if folder is not None and _working_folder() != folder:
            os.chdir(folder)


def _working_folder() -> Path | None:
    """Return the working folder; None if it is gone."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def returns_network(made: Callable[..., Any]) -> bool:
    """Return whether it is a class of networks, or a function annotated to return one."""
    found: Any = made
    if not isinstance(made, type):
        try:
            found = typing.get_type_hints(made).get("return")
        except Exception:  # a hint may name what is not there
            return False
    return isinstance(found, type) and issubclass(found, nn.Module)


@contextlib.contextmanager
def importable(code: NetworkCode | None) -> Iterator[None]:
    """Let a run's code be imported, and nothing else of the same names.

    The code is unpacked into a temporary folder. Modules that were imported before and have the
    name of one of its files are set aside, so that a run's copy is used even where a newer version
    has been imported. One process imports each version once: some modules register what may not
    be registered twice.

    Args:
        code: code of the networks; None if they are in no file.
    """
    global _folder, _code
    if code is None or (_code is not None and _code.hash == code.hash):
        yield
        return
    names = {Path(name).parts[0].removesuffix(".py") for name in code.files}

    def ours() -> list[str]:
        return [name for name in sys.modules if name.partition(".")[0] in names]

    if code.hash not in _imported:
        unpacked = tempfile.TemporaryDirectory(prefix="tunecnn-code-")  # until the process ends
        code.write(Path(unpacked.name))
        _imported[code.hash] = unpacked, {}
    unpacked, modules = _imported[code.hash]
    before, outer = {name: sys.modules.pop(name) for name in ours()}, (_folder, _code)
    _folder, _code = Path(unpacked.name), code
    sys.modules.update(modules)
    sys.path.insert(0, unpacked.name)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        _folder, _code = outer
        with contextlib.suppress(ValueError):
            sys.path.remove(unpacked.name)
        modules.update({name: sys.modules.pop(name) for name in ours()})
        sys.modules.update(before)


def importable_code() -> NetworkCode | None:
    """Return the code that can be imported now, by `importable`."""
    return _code


def in_own_code(file: str) -> bool:
    """Return whether a file is part of the code that can be imported now."""
    return _folder is not None and str(_folder) in file


def describe(error: BaseException) -> str:
    """Return an exception as one line, with the line of the user's code that raised it."""
    text = _lacking(error) or text_of(error)
    name = "a call of sys.exit" if isinstance(error, SystemExit) else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    inside = [one for one in frames if in_own_code(one.filename)]
    where = f" ({Path(inside[-1].filename).name}:{inside[-1].lineno})" if inside else ""
    return f"{name}{where}" + (f": {text}" if text else "")


def _lacking(error: BaseException) -> str:
    """Return how to let a file travel that the code reads from beside itself; empty if none is."""
    missing = getattr(error, "filename", None) if isinstance(error, FileNotFoundError) else None
    if _folder is None or _code is None or not isinstance(missing, str | Path):
        return ""
    try:
        file = Path(missing).resolve().relative_to(_folder.resolve()).as_posix()
    except ValueError:  # it is elsewhere
        return ""
    files = ", ".join([*_code.files, file])
    return (
        f"{file} does not travel with the code; write code: [{files}] "
        f"(tunecnn train: --code {file})"
    )


def _settable(made: Callable[..., Any]) -> list[str]:
    """Return the arguments of a network that tunecnn sets.

    What `**` passes on to a base class is set as that takes it.
    """
    try:
        found = inspect.signature(made).parameters
    except (TypeError, ValueError):
        return [CLASSES_NAMES[1]]
    names = [name for name in (*INPUT_NAMES, *CLASSES_NAMES) if name in found]
    if not any(one.kind is one.VAR_KEYWORD for one in found.values()):
        return names
    of_bases = _passed_on(made) if isinstance(made, type) else set()
    names += [name for name in INPUT_NAMES if name in of_bases and name not in found]
    if not any(name in CLASSES_NAMES for name in names):  # else as torchvision's networks take it
        names.append(next((name for name in CLASSES_NAMES if name in of_bases), CLASSES_NAMES[1]))
    return names


def _passed_on(made: type) -> set[str]:
    """Return the arguments of base classes that `**` may reach, from one base to the next."""
    found: set[str] = set()
    calls = [
        call for base in made.__mro__ if inspect.isfunction(call := vars(base).get("__init__"))
    ]
    for call in calls[1:]:
        parameters = inspect.signature(call).parameters
        found |= parameters.keys()
        if not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            break
    return found


def _called(made: Callable[..., Any], own: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """Call a class or function, without arguments that it gives its base class itself."""
    try:
        return made(**{**own, **given})
    except TypeError as error:
        twice = re.search(r"multiple values for (?:keyword )?argument '(\w+)'", text_of(error))
        if twice is None or twice[1] not in own:
            raise
        fewer = {name: value for name, value in own.items() if name != twice[1]}
        try:
            return _called(made, fewer, given)
        except TypeError:
            raise error from None


def _with_members(made: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments with members of an `Enum` where one is wanted, by its value or its name.

    Raises:
        NetworkError: if there is no such member.
    """
    hints, found = _hints(made), {}
    for name, value in given.items():
        wanted = (hints.get(name), *typing.get_args(hints.get(name)))
        enums = [one for one in wanted if isinstance(one, type) and issubclass(one, Enum)]
        others = [one for one in wanted if isinstance(one, type) and one not in enums]
        members = [member for one in enums for member in one]
        fitting = [one for one in members if value in (one.value, one.name)]
        if members and not fitting and not isinstance(value, (*enums, *others, NoneType)):
            values = ", ".join(repr(one.value) for one in members)
            whose = getattr(made, "__name__", "the network")
            raise NetworkError(f"{name} of {whose} is one of {values}, not {value!r}")
        found[name] = fitting[0] if fitting else value
    return found


def _hints(made: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of arguments, also of base classes that `**` may reach.

    Each by itself: one may name what is not there, as what only a type checker imports.
    """
    if isinstance(made, functools.partial):
        return _hints(made.func)
    bases = reversed(made.__mro__) if isinstance(made, type) else ()
    calls: list[Any] = [
        call for base in bases if inspect.isfunction(call := vars(base).get("__init__"))
    ]
    hints: dict[str, Any] = {}
    for call in map(inspect.unwrap, calls or [made]):
        for name, hint in getattr(call, "__annotations__", {}).items():
            one = SimpleNamespace(__annotations__={name: hint})
            with contextlib.suppress(Exception):
                hints |= typing.get_type_hints(one, getattr(call, "__globals__", {}))
    return hints


@contextlib.contextmanager
def _seeds_refused(name: str) -> Iterator[None]:
    """Refuse a network that seeds a generator while it is built.

    Raises:
        NetworkError: if it does.
    """
    seeded: dict[str, None] = {}
    watched = {
        ("random", "seed"): random,
        ("random", "setstate"): random,
        ("numpy.random", "seed"): np.random,
        ("numpy.random", "set_state"): np.random,
    }
    before = torch.initial_seed()
    kept = {key: getattr(module, key[1]) for key, module in watched.items()}

    def noting(where: str, called: str) -> Callable[..., Any]:
        def note(*given: Any, **named: Any) -> Any:
            if called == "seed":
                seeded[where] = None
            else:  # the state of before, say
                seeded.pop(where, None)
            return kept[where, called](*given, **named)

        return note

    try:
        for (where, called), module in watched.items():
            setattr(module, called, noting(where, called))
        yield
    finally:
        for key, module in watched.items():
            setattr(module, key[1], kept[key])
    if torch.initial_seed() != before:
        seeded["torch"] = None
        torch.default_generator.manual_seed(before)  # so that the next build is seen to do it
    if seeded:
        raise NetworkError(
            f"{name} sets the seed of {', '.join(seeded)} while it is built, so trials with other "
            "seeds would begin alike: remove that (for constants, use a generator of their own, "
            "with a seed)"
        )


def _in_words(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in given.items()) or "its defaults"
