"""Check what a search needs on this machine, and say what to do about each problem."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from tunecnn.errors import TunecnnError, reason
from tunecnn.files import expanded, nearest_existing
from tunecnn.process import usable_cores
from tunecnn.words import bytes_in_words, count_in_words

State = Literal["good", "note", "problem"]
_LEAST_FREE = 2e9  # bytes; a search of ten thousand trials writes less


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
        what: name of the check.
        state: `good`; `note` for what some searches need; `problem` for what all need.
        words: what was found.
        advice: what to do about it; empty if it is good.
    """

    what: str
    state: State
    words: str
    advice: str = ""


def examine(runs_dir: Path, data_dir: Path | None, address: str | None) -> Iterator[Finding]:
    """Yield a finding for each check.

    Args:
        runs_dir: parent folder of the runs.
        data_dir: folder of the data files; None for the default folder.
        address: address of a Ray cluster; None for `RAY_ADDRESS`, or else this machine.
    """
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _versions,
        _devices,
        lambda: _cluster(address or os.environ.get("RAY_ADDRESS")),
        lambda: _storage(runs_dir),
        lambda: _data(data_dir),
        _extras,
    )
    for check in checks:
        yield from check()


def _versions() -> Iterator[Finding]:
    """Compare the installed packages with those that tunecnn needs."""
    for what, needed in _unmet():
        yield Finding("packages", "problem", what, f"pip install '{needed}'")
    shown = []
    for name in ("tunecnn", "torch", "ray", "optuna"):
        with contextlib.suppress(PackageNotFoundError):  # which is named above
            shown.append(f"{name} {version(name)}")
    yield Finding("versions", "good", ", ".join(shown))


def _unmet(extra: str = "") -> Iterator[tuple[str, str]]:
    """Yield what is missing or too old, and the requirement, of all that an extra needs."""
    from packaging.requirements import Requirement

    for one in map(Requirement, requires("tunecnn") or ()):
        if one.marker is not None and not one.marker.evaluate({"extra": extra}):
            continue
        extras = f"[{','.join(sorted(one.extras))}]" if one.extras else ""
        needed = f"{one.name}{extras}{one.specifier}"
        try:
            there = version(one.name)
        except PackageNotFoundError:
            yield f"{one.name} is missing", needed
            continue
        if not one.specifier.contains(there, prereleases=True):
            yield f"{one.name} {there}", needed


def _devices() -> Iterator[Finding]:
    """Say which GPUs torch can use."""
    try:
        import torch
    except ImportError:  # which is named among the packages
        return
    if not torch.cuda.is_available():
        built = torch.version.cuda
        if Path("/proc/driver/nvidia/version").exists():
            yield Finding(
                "GPUs",
                "problem",
                "there is an NVIDIA driver, but torch finds no GPU",
                f"this torch was built for {'CUDA ' + built if built else 'CPUs only'}; see "
                "nvidia-smi and CUDA_VISIBLE_DEVICES, and pytorch.org for a build that fits",
            )
        else:
            yield Finding(
                "GPUs",
                "note",
                f"none; trials train on {count_in_words(usable_cores(), 'core')}",
                "small networks on small images are fine; for CIFAR-10 plan first: tunecnn plan",
            )
        return
    for index in range(torch.cuda.device_count()):
        name = torch.cuda.get_device_name(index)
        try:
            free, total = torch.cuda.mem_get_info(index)
            torch.zeros(1, device=f"cuda:{index}").add_(1).item()
        except RuntimeError as error:
            yield Finding("GPUs", "problem", f"{index}: {name}: {error}", "see nvidia-smi")
            continue
        words = f"{index}: {name}, {bytes_in_words(free)} of {bytes_in_words(total)} free"
        busy = free < total / 2
        yield Finding(
            "GPUs",
            "note" if busy else "good",
            words,
            "another process holds most of it: see nvidia-smi" if busy else "",
        )


def _cluster(address: str | None) -> Iterator[Finding]:
    """Check that a cluster lets us in, or that Ray can start here."""
    if address in (None, "", "local"):
        shm = Path("/dev/shm")
        if shm.is_dir() and (free := shutil.disk_usage(shm).free) < 1e9:
            yield Finding(
                "Ray",
                "note",
                f"only {bytes_in_words(free)} in /dev/shm, where Ray keeps images",
                "in a container: docker run --shm-size 4g; or use --local",
            )
        else:
            yield Finding("Ray", "good", "no cluster is named; a search starts Ray here")
        return
    from tunecnn.engines.address import check_address

    try:
        check_address(str(address))
    except TunecnnError as error:
        yield Finding("Ray", "problem", str(error), "see `ray status` on the head node")
    else:
        yield Finding("Ray", "good", f"the cluster at {address} lets us in")


def _storage(runs_dir: Path) -> Iterator[Finding]:
    """Check that the place of the runs keeps what is written, and knows locks."""
    parent = nearest_existing(runs_dir.absolute())
    try:
        with TemporaryDirectory(prefix=".tunecnn-doctor-", dir=parent) as place:
            _exercise(Path(place))
    except OSError as error:
        yield Finding(
            "storage",
            "problem",
            f"{parent}: {reason(error)}",
            "choose a folder that can be written: --runs-dir",
        )
        return
    free = shutil.disk_usage(parent).free
    if free < _LEAST_FREE:
        yield Finding(
            "storage",
            "problem",
            f"{parent}: {bytes_in_words(free)} free",
            "make room, or choose another --runs-dir",
        )
    else:
        yield Finding("storage", "good", f"{parent}: {bytes_in_words(free)} free")


def _exercise(place: Path) -> None:
    """Do what a run does with its files.

    Raises:
        OSError: if something does not work.
    """
    from filelock import FileLock, Timeout

    from tunecnn.files import write_atomically

    write_atomically(place / "file", b"once")
    write_atomically(place / "file", b"twice")
    if (place / "file").read_bytes() != b"twice":
        raise OSError("a file that was replaced has its old content")
    with FileLock(place / "lock", timeout=0):
        try:
            FileLock(place / "lock", timeout=0, is_singleton=False).acquire()
        except Timeout:
            return
    raise OSError("locks have no effect, so two searches could write one run")


def _data(data_dir: Path | None) -> Iterator[Finding]:
    """Say which published images are here."""
    from tunecnn.data.loading import default_data_dir, is_here

    folder = expanded(data_dir or default_data_dir()).absolute()
    missing = [name for name in ("mnist", "cifar10") if not is_here(name, folder)]
    parent = nearest_existing(folder)
    if not os.access(parent, os.W_OK):
        yield Finding(
            "data",
            "problem",
            f"{folder} cannot be written",
            "choose another folder: --data-dir, or TUNECNN_DATA",
        )
    elif missing:
        yield Finding(
            "data",
            "note",
            f"{folder}: no {' and no '.join(missing)}",
            "fetched before the first trial; on a machine without network put the files there, as "
            "`tunecnn data prepare` says",
        )
    else:
        yield Finding("data", "good", f"{folder}: mnist and cifar10 are here")


def _extras() -> Iterator[Finding]:
    """Say which optional packages are missing."""
    optional = [one for one in metadata("tunecnn").get_all("Provides-Extra", []) if one != "dev"]
    basic = set(_unmet())
    missing = [extra for extra in optional if set(_unmet(extra)) - basic]
    there = [extra for extra in optional if extra not in missing]
    yield Finding(
        "extras",
        "note" if missing else "good",
        f"installed: {', '.join(there) or 'none'}",
        f"if you need them: pip install 'tunecnn[{','.join(missing)}]'" if missing else "",
    )
