"""Export of a trained network to other runtimes, with a model card."""

from __future__ import annotations

import logging
import re
import shlex
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from tunecnn.analysis.intervals import wilson_interval
from tunecnn.analysis.overview import balanced_in_words
from tunecnn.documents import to_yaml
from tunecnn.errors import InputError, RunError, reason
from tunecnn.files import check_writable, partial_of, whole, write_atomically
from tunecnn.models.running import running_network
from tunecnn.run.info import DatasetRecord, SearchJob
from tunecnn.trial.config import VIEWS
from tunecnn.workflows.found_model import FoundModel, find_model

if TYPE_CHECKING:
    import numpy.typing as npt

    from tunecnn.trial.trained import TrainedModel

Format = Literal["torch-export", "onnx"]
SUFFIXES: dict[Format, str] = {"torch-export": ".pt2", "onnx": ".onnx"}
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


def export(model: Path, format_: Format, out: Path | None = None) -> Exported:
    """Export a model, compare its outputs with the original's, and write a model card.

    The exported model takes images as bytes (n, height, width, channels), any number of them, and
    returns logits (n, classes): the scaling of the pixels is inside. It computes in float32, which
    every runtime has, also if the training was in bfloat16.

    Args:
        model: file of weights, or folder of a run, whose best trial is taken.
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


def _exported(format_: Format, model: TrainedModel, file: Path, path: Path) -> Predict:
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
            model, (example,), dynamo=True, verbose=False, input_names=["images"],
            output_names=["logits"], dynamic_shapes=({0: torch.export.Dim("images")},),
        )  # fmt: skip
    assert program is not None
    program.save(str(path), external_data=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        found: npt.NDArray[np.float32] = session.run(None, {"images": pixels})[0]
        return found

    return run


_EXPORTERS: dict[Format, Callable[[TrainedModel, Path], Predict]] = {
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


def model_card(found: FoundModel, file: str, format_: str, difference: float) -> str:
    """Write the card of an exported model: what it is, how good, and what is not known of it."""
    model, run = found.model, found.run
    config = model.config
    channels, height, width = model.input_shape
    classes = ", ".join(model.classes)
    lines = [
        f"# {Path(file).stem}",
        "",
        f"An image classifier ({config.architecture}), trained by tunecnn and exported as "
        f"{format_}.",
        "",
        "## Use",
        "",
        f"- file: `{file}`",
        f"- input `images`: bytes 0 to 255 of the shape (n, {height}, {width}, {channels}); the "
        "scaling of the pixels is inside the model",
        f"- output `logits`: (n, {len(model.classes)}) floats; their softmax is the probability "
        "of each class",
        *(
            [f"- views of an image: {VIEWS[config.views]}; they are made inside the model"]
            if config.views in VIEWS
            else []
        ),
        f"- classes, by index: {classes}",
        f"- images of other sizes have to be made {width}x{height} as in the training"
        + (f" (`size: {config.size}`, `fit: {config.fit}`)" if config.size else ""),
        "",
        "## Data",
        "",
        *_data(found),
        "",
        "## Accuracy",
        "",
        *_accuracy(found),
        "",
        "## Limits",
        "",
        "- The accuracy is that on images like those of the training. Nothing is known of other "
        'images, and the model has no answer for "none of these classes".',
        "- Its probabilities are not calibrated.",
        *([f"- {text}" for text in _doubts(run.info.dataset)] if run is not None else []),
        "",
        "## Training",
        "",
        *_training(found),
        f"- largest difference of a probability between this file and the trained network, "
        f"both in float32: {difference:.1g} (64 random images)",
        "",
        "```yaml",
        to_yaml(config.to_dict()).rstrip(),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _data(found: FoundModel) -> list[str]:
    if found.run is None:
        return [f"- data set: {found.model.config.dataset} (the run is not beside the model)"]
    dataset = found.run.info.dataset
    return [
        f"- data set: {dataset.name}, fingerprint {dataset.fingerprint}",
        f"- {dataset.train:,} training images, {dataset.validation:,} validation images, "
        f"{dataset.test:,} test images",
    ]


def _accuracy(found: FoundModel) -> list[str]:
    run = found.run
    if run is None or found.trial is None:
        return ["- not known: the run is not beside the model"]
    record = run.record(found.trial)
    lines = []
    confirmed = found.confirmed()
    if confirmed is not None:
        low_high = ""
        if confirmed.interval is not None:
            low_high = ", 95 % interval of the mean {:.2%} to {:.2%}".format(*confirmed.interval)
        what = f"mean {balanced_in_words(run.space.metric)}test accuracy"
        lines.append(
            f"- confirmed: its configuration, trained with {confirmed.repeats}, has "
            f"{confirmed.test:.2%} {what}{low_high} ({confirmed.run})"
        )
    own = [one for one in run.info.evaluations
           if one.trial == found.trial and not one.confirmation]  # fmt: skip
    for one in own:
        low, high = wilson_interval(one.accuracy, run.info.dataset.different("test"))
        lines.append(f"- this model on the test images: {one.accuracy:.2%} (95 % interval "
                     f"{low:.2%} to {high:.2%}, {one.images:,} images)")  # fmt: skip
    if record.kept is not None:
        accuracy = record.kept.val_accuracy
        low, high = wilson_interval(accuracy, run.info.dataset.different("validation"))
        text = f"{accuracy:.2%} validation accuracy ({low:.2%} to {high:.2%})"
        is_search = isinstance(run.job, SearchJob)
        text = f"in the search: {text}" if is_search else text
        if len(run.complete) > 1 and run.best is not None and run.best["trial"] == found.trial:
            text += f"; the best of {len(run.complete)} trials by this figure is partly the "
            text += "luckiest, so expect less"
        if is_search and not lines:
            text += "; it has not been confirmed with new seeds"
        lines.append(f"- {text}")
    return lines


def _doubts(dataset: DatasetRecord) -> list[str]:
    return list(dataset.sheet.warnings()) if dataset.sheet is not None else []


def _training(found: FoundModel) -> list[str]:
    if found.run is None:
        return ["- the run is not beside the model"]
    session = found.run.info.last_session
    versions = ", ".join(f"{name} {one}" for name, one in session.versions.items())
    code = found.run.info.code
    return [
        f"- run: {found.run.name}, trial {found.trial}",
        f"- command: `{_plain(found.run.info.sessions[0].command)}`",
        *([f"- code of the network: {', '.join(code.files)}, hash {code.hash}"] if code else []),
        f"- versions: {versions}",
    ]


def _plain(command: str) -> str:
    """Return a command without the path of its program."""
    words = shlex.split(command)
    return shlex.join([Path(words[0]).name, *words[1:]]) if words else command
