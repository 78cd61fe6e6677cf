"""What the results of a process's trials depend on: its code, versions, device and arithmetic."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from tunecnn.files import sha256
from tunecnn.models.packages import package_version

if TYPE_CHECKING:
    import torch

_TRAINING = ("tunecnn", "torch", "torchvision", "numpy", "scikit-learn")
_OTHERS = ("ray", "optuna", "pandas")

DECISIVE = ("python", *_TRAINING)
"""Python and the packages whose versions affect the result of a trial."""


@dataclass(frozen=True)
class Environment:
    """The environment of a process that trains trials.

    Attributes:
        node: name of the machine.
        device: type and name of the device, such as `cuda: NVIDIA H100 80GB HBM3`.
        device_id: name of the device on its machine, such as `GPU 3`; empty for a CPU.
        has_bf16: whether the device has instructions for bfloat16.
        has_tf32: whether matrix products of float32 values are rounded to TF32.
        versions: versions of Python and of the installed packages.
        source: hash of the source of tunecnn.
        unused: resource that the trial holds and does not use, with the reason; or empty.
    """

    node: str
    device: str
    device_id: str = ""
    has_bf16: bool = False
    has_tf32: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    unused: str = ""

    @classmethod
    def of_process(
        cls,
        device: torch.device,
        device_id: str = "",
        unused: str = "",
        packages: Iterable[str] = (),
    ) -> Environment:
        """Return the environment of this process, which trains on a device.

        Args:
            device: the device.
            device_id: its name on its machine; empty for a CPU.
            unused: resource that the trial holds and does not use, with the reason; or empty.
            packages: further packages that its networks use.
        """
        import torch

        from tunecnn.trial.training import computes_in_bf16

        on_gpu = device.type == "cuda"
        name = torch.cuda.get_device_name(device) if on_gpu else processor()
        return cls(
            node=platform.node(),
            device=f"{device.type}: {name}",
            device_id=device_id,
            has_bf16=computes_in_bf16(device),
            has_tf32=on_gpu and _rounds_to_tf32(),
            versions=versions(packages),
            source=source_hash(),
            unused=unused,
        )

    def precision(self, setting: str) -> str:
        """Return the arithmetic in which a trial is computed.

        Args:
            setting: setting `precision` of the trial's config, `fp32` or `bf16`.
        """
        used = "bf16" if setting == "bf16" and self.has_bf16 else "fp32"
        return f"{used} with TF32" if self.has_tf32 else used


def _rounds_to_tf32() -> bool:
    """Return whether the libraries round whatever torch tells them (`set_exact_arithmetic`)."""
    return os.environ.get("NVIDIA_TF32_OVERRIDE") == "1"


class Comparable:
    """Decides whether the results of trials from several processes can be compared.

    All of them need the source of tunecnn and the versions of this process, which are those in
    `run.json`. The arithmetic of a setting is that of the first trial that had this setting.

    Args:
        versions_here: versions of this process; None for those that it has.
        packages: further packages that the networks use.
    """

    def __init__(
        self, versions_here: Mapping[str, str] | None = None, packages: Collection[str] = ()
    ) -> None:
        self._versions = versions(packages) if versions_here is None else versions_here
        self._packages = packages
        self._source = source_hash()
        self._precision: dict[str, tuple[str, str]] = {}
        self._devices: dict[str, str] = {}

    def add(self, setting: str, precision: str, node: str, device: str) -> str:
        """Add where a trial was trained; return a warning about another kind of device, or ""."""
        self._precision.setdefault(setting, (precision, node))
        other = next(iter(self._devices), device)
        is_new = device not in self._devices
        self._devices.setdefault(device, node)
        if not is_new or other == device:
            return ""
        return (
            f"{node} trains on another kind of device ({device}) than {self._devices[other]} "
            f"({other}): the last digits of its figures differ, and times are not comparable"
        )

    def difference(self, there: Environment, setting: str) -> str:
        """Return why the results of a trial there would not be comparable, or an empty string.

        Args:
            there: environment of the worker.
            setting: setting `precision` of the trial.
        """
        for name in (*DECISIVE, *self._packages):
            here, other = self._versions.get(name, "none"), there.versions.get(name, "none")
            if not is_same_version(name, here, other):
                return f"it has {name} {other}, and this process has {name} {here}"
        if there.source != self._source:
            return (
                f"its source of tunecnn ({there.source[:12] or 'unknown'}) is not that of this "
                f"process ({self._source[:12]}), although the version is the same"
            )
        precision = there.precision(setting)
        before, node = self._precision.get(setting, (precision, ""))
        if precision != before:
            return (
                f"trials would be computed in {precision} there, and those before, on {node}, in "
                f"{before} (a resume with --allow-changes admits that)"
            )
        return ""


def is_same_version(name: str, one: str, other: str) -> bool:
    """Return whether two versions give the same results.

    Builds of one version, such as `+cu126`, do, and patches of Python.
    """
    if name == "python":
        return one.split(".")[:2] == other.split(".")[:2]
    return one.partition("+")[0] == other.partition("+")[0]


def changed_versions(
    before: Mapping[str, str], now: Mapping[str, str], names: Iterable[str]
) -> str:
    """Describe the packages whose versions give other results than those of an earlier session."""
    return ", ".join(
        f"{name} {before[name]} then, {now.get(name, 'none')} now"
        for name in names
        if name in before and not is_same_version(name, before[name], now.get(name, "none"))
    )


@cache
def source_hash() -> str:
    """Return the hash of the source of the imported tunecnn."""
    folder = Path(__file__).parents[1]
    files = sorted(folder.rglob("*.py"))
    names = (path.relative_to(folder).as_posix() for path in files)
    hashes = (sha256(path.read_bytes()) for path in files)
    return sha256("\n".join(map(" ".join, zip(names, hashes, strict=True))))


@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in (*_TRAINING, *_OTHERS):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of Python and of the installed packages on which results can depend.

    They are those of the first call in this process. Ray may be missing: trials can still run in
    this process.

    Args:
        packages: further packages that its networks use.
    """
    return {**_versions(), **{name: package_version(name) for name in packages}}


@cache
def processor() -> str:
    """Return the system's description of this machine's processor.

    It is the name and, if available, the family and model: some clouds use one name for several.
    """
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        first = cpuinfo.read_text(encoding="utf-8").partition("\n\n")[0]
        fields = {
            key.strip(): value.strip()
            for key, _, value in (line.partition(":") for line in first.splitlines())
        }
        if "model name" in fields:
            numbers = [f"{key} {fields[key]}" for key in ("cpu family", "model") if key in fields]
            return ", ".join([fields["model name"], *numbers])
    return platform.processor() or platform.machine()


def has_gpu_device() -> bool:
    """Return whether Linux has a GPU here, without the import of torch."""
    devices = ("nvmap", "dxg", "kfd")  # NVIDIA's boards with a GPU inside, below Windows, AMD
    return any(Path("/dev").glob("nvidia[0-9]*")) or any(
        Path("/dev", one).exists() for one in devices
    )
