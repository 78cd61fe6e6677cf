"""Export of a trained network to other runtimes, with a model card."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from tunecnn.errors import InputError, RunError, reason
from tunecnn.files import check_writable, partial_of, whole, write_atomically
from tunecnn.models.running import running_network
from tunecnn.workflows.found_model import FoundModel, find_model
from tunecnn.workflows.model_card import model_card

if TYPE_CHECKING:
    import numpy.typing as npt

    from tunecnn.trial.trained import TrainedModel

ExportFormat = Literal["torch-export", "onnx"]
SUFFIXES: dict[ExportFormat, str] = {"torch-export": ".pt2", "onnx": ".onnx"}
TOLERANCE = 1e-5
"""Largest allowed difference of a probability between the model in float32 and its export."""
_IMAGES = 64
_PACKAGES = {"onnx": ("onnx", "onnxscript", "onnxruntime")}


@dataclass(frozen=True)
class Exported:
    """An exported model.

    Attributes:
        path: its file.
        card: its model card, a Markdown file.
        difference: largest difference of a probability from the model's in float32, over 64
            images.
    """

    path: Path
    card: Path
    difference: float


def export(model: Path, format_: ExportFormat, out: Path | None = None) -> Exported:
    """Export a model, compare its outputs with the original's, and write a model card.

    The exported model takes images as bytes (n, height, width, channels), any number of them, and
    returns logits (n, classes): the scaling of the pixels is inside. It computes in float32, which
    every runtime has, also if the training was in bfloat16.

    Args:
        model: file of weights, or folder of a run, whose confirmed or best trial is taken.
        format_: `torch-export` (loaded by `torch.export.load`) or `onnx`.
        out: file to write; None for the name of the run and trial in the current folder.

    Raises:
        InputError: if a package is missing, the network cannot be exported, or `out` cannot be
            written.
        RunError: if the outputs differ, or the file cannot be written.
    """
    if out is not None:
        if out.suffix != SUFFIXES[format_]:
            raise InputError(f"a file of {format_} is named {SUFFIXES[format_]}, not {out.name}")
        check_writable(out, "--out")
    from scipy.special import softmax

    with running_network(f"the network of {model} failed"):
        found = find_model(model)
    path = out or Path(_name(found) + SUFFIXES[format_])
    model_in_float32 = found.model.in_float32()
    pixels = _random_images(model_in_float32)
    partial = partial_of(path).with_suffix(path.suffix)  # what is at the path stays if this fails
    try:
        with running_network(f"the network of {found.path} failed"):
            run = _exported(format_, model_in_float32, partial, path)
            expected = model_in_float32.probabilities(pixels)
            difference = float(np.abs(softmax(run(pixels), axis=1) - expected).max())
        if not difference <= TOLERANCE:
            raise RunError(
                f"the exported model gives other probabilities, by up to {difference:.2g}; it has "
                "not been kept"
            )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    card = path.with_name(f"{path.name}.md")
    write_atomically(card, model_card(found, path.name, format_, difference))
    return Exported(path, card, difference)


Predict = Callable[["npt.NDArray[np.uint8]"], "npt.NDArray[np.float32]"]


def _exported(format_: ExportFormat, model: TrainedModel, file: Path, path: Path) -> Predict:
    """Export a model to a file, which will be moved to a path, and return what runs the file.

    Raises:
        InputError: if a package is missing, or the network cannot be exported.
        RunError: if the file cannot be written.
    """
    try:
        run = _EXPORTERS[format_](model, file)
        run(_random_images(model)[:1])  # a network may have fixed the number of images
        return run
    except ImportError as error:
        needed = " ".join(_PACKAGES.get(format_, ()))
        if error.name and error.name.partition(".")[0] not in needed.split():
            raise InputError(f"the network cannot be exported to {format_}: {error}") from error
        raise InputError(f"{format_} needs packages: pip install {needed} ({error})") from error
    except OSError as error:
        raise RunError(f"{path} cannot be written: {reason(error)}") from error
    except Exception as error:
        cause = error.__cause__ or error  # an exporter of torch names its own step first
        text = re.sub(r"\x1b\[[\d;]*m", "", str(cause)).strip()
        first, hint = " ".join(text.splitlines()[:1]), ""
        if "inferred to be a constant" in text:
            hint = "; it fixes the number of images, as len(x) does: write x.shape[0]"
        raise InputError(
            f"the network cannot be exported to {format_}: {type(cause).__name__}: {first}{hint}"
        ) from error


def _torch_export(model: TrainedModel, path: Path) -> Predict:
    import torch
    from torch.export import Dim

    example = torch.from_numpy(_random_images(model)[:3])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about what it does itself
        program = torch.export.export(model, (example,), dynamic_shapes=({0: Dim("images")},))
        torch.export.save(program, path)
        loaded = torch.export.load(path).module()

    def run(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        with torch.no_grad():
            found: npt.NDArray[np.float32] = loaded(torch.from_numpy(pixels)).numpy()
        return found

    return run


def _onnx(model: TrainedModel, path: Path) -> Predict:
    import onnxruntime
    import onnxscript  # noqa: F401  torch's exporter needs it
    import torch

    example = torch.from_numpy(_random_images(model)[:3])
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("images")},),
        )
    assert program is not None
    program.save(str(path), external_data=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        found: npt.NDArray[np.float32] = session.run(None, {"images": pixels})[0]
        return found

    return run


_EXPORTERS: dict[ExportFormat, Callable[[TrainedModel, Path], Predict]] = {
    "torch-export": _torch_export,
    "onnx": _onnx,
}


def _random_images(model: TrainedModel) -> npt.NDArray[np.uint8]:
    channels, height, width = model.input_shape
    random = np.random.default_rng(0)
    return random.integers(0, 256, (_IMAGES, height, width, channels), dtype=np.uint8)


def _name(found: FoundModel) -> str:
    if found.run is None:
        return found.path.stem
    return f"{whole(found.run.path).name}-trial-{found.trial:05d}"
