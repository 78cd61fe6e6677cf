"""Draw the figures and fill in the tables of docs/experiment.md from what docs/results/ keeps.

    python -m benchmarks.experiment

The tables and pictures of that page come from here, so no figure in them is typed by hand: test
results from the summaries that tunecnn wrote, epochs from the frames in docs/results/experiment/.
Trainings on a CPU repeat seed 0 of those on a GPU: the same initial weights, in another order and
with other dropout. So where there are three seeds, only they are judged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from benchmarks.results import DOCS, with_tables
from tunecnn.analysis.intervals import mean_interval, prediction_interval
from tunecnn.analysis.published import EXPERIMENTS, published_curves
from tunecnn.summary.formats import Format
from tunecnn.summary.plots.style import (
    BASELINE,
    BEST,
    COMPLETE,
    STOPPED,
    count_along,
    legend_below,
    picture,
    state_finding,
)
from tunecnn.summary.render import encode

RESULTS = DOCS / "results"
NAMES = {"model1": "Model 1", "model2": "Model 2", "proposed": "proposed"}
DATA = {"mnist": "MNIST", "cifar10": "cifar10-jpeg"}
RUNS = {
    ("mnist", "model1"): [["h200-mnist-model1"], ["mnist"]],
    ("mnist", "model2"): [["h200-mnist-model2"], ["mnist"]],
    ("mnist", "proposed"): [["h200-mnist-model3"], ["mnist-model3"]],
    ("cifar10", "model1"): [["h200-cifar10-jpeg-model1"], ["cifar10-jpeg-model1"]],
    ("cifar10", "model2"): [["h200-cifar10-jpeg-model2"], ["cifar10-jpeg-model2"]],
    ("cifar10", "proposed"): [
        ["cifar10-jpeg-model3", "cifar10-jpeg-model3-seed1", "cifar10-jpeg-model3-seed2"]
    ],
}
"""Folders of the reproductions at full length, each `reproduce-...`, by data set and network.

First those whose seeds differ, then those that repeat a seed.
"""
VIEWS = {"one": "one view", "mirrored": "two views", "shifted": "six views"}
"""Views of an image over which the logits are averaged, in words, by the setting."""
CHANCE = 0.2  # below it, a training has learned nothing, and its distance says nothing


@dataclass(frozen=True)
class Tested:
    """Test results of the trainings of a network, one for each."""

    accuracies: list[float]
    losses: list[float]


def place(dataset: str, architecture: str) -> str:
    """Write which network was trained on which images."""
    return f"{NAMES[architecture]}, {DATA[dataset]}"


def tested(dataset: str, architecture: str) -> list[Tested]:
    """Read the test results of a network: those of different seeds, and those that repeat one."""
    found = []
    for folders in RUNS[dataset, architecture]:
        both = Tested([], [])
        for folder in folders:
            page = (RESULTS / f"reproduce-{folder}" / "summary.md").read_text()
            section = page.split("\n## Test\n")[1].split("\n## ")[0]
            rows = re.findall(rf"^\| {architecture} \|.*$", section, flags=re.M)
            accuracy, loss = (row.split(" | ")[3].split(", ") for row in rows)
            both.accuracies.extend(round(float(one.strip("%")) / 100, 4) for one in accuracy)
            both.losses.extend(map(float, loss))
        found.append(both)
    return found


def epochs(dataset: str) -> pd.DataFrame:
    """Return each epoch of our trainings at full length, `proposed` by its name of today."""
    path = RESULTS / "experiment" / f"epochs-{DATA[dataset].lower()}.parquet"
    frame = pd.read_parquet(path)
    return frame.assign(architecture=frame["architecture"].replace("model3", "proposed"))


def keras() -> pd.DataFrame:
    """Return the epochs of Keras's trainings on the same images, and a row for each test."""
    frame = pd.read_parquet(RESULTS / "experiment" / "keras-cifar10-jpeg.parquet")
    return frame.rename(columns={"model": "architecture"})


def test_rows(values: Callable[[Tested], list[float]], metric: str) -> list[dict[str, str]]:
    """Return a row for each of the six results: published, ours, and where one more would lie."""
    form = ".2%" if metric == "accuracy" else ".4f"
    rows = []
    for dataset, architecture in RUNS:
        ours, *again = (values(one) for one in tested(dataset, architecture))
        published = getattr(EXPERIMENTS[dataset].results[architecture], f"test_{metric}")
        interval, verdict = "-", "not judged, n = 1"
        if len(ours) > 1:
            low, high = prediction_interval(ours)
            low, high = max(low, 0.0), min(high, 1.0) if metric == "accuracy" else high
            interval = f"{low:{form}} to {high:{form}}"
            verdict = "inside" if low <= published <= high else "outside"
        rows.append(
            {
                "network": place(dataset, architecture),
                "published": f"{published:{form}}",
                "our mean": f"{fmean(ours):{form}}",
                "one more run (95 %)": interval,
                "published is": verdict,
                "n": str(len(ours)),
                "each of ours": ", ".join(f"{value:{form}}" for value in ours),
                "seed 0 on a CPU": f"{again[0][0]:{form}}" if again else "-",
            }
        )
    return rows


def cost_rows() -> list[dict[str, str]]:
    """Return the time of the trainings, by hardware."""
    rows = []
    for dataset in DATA:
        frame = epochs(dataset)
        for (architecture, hardware), part in frame.groupby(["architecture", "hardware"]):
            seconds = part.groupby("trial")["seconds"].sum()
            rows.append(
                {
                    "network": place(dataset, str(architecture)),
                    "hardware": hardware,
                    "trainings": str(len(seconds)),
                    "hours of each": f"{seconds.mean() / 3600:.2f}",
                }
            )
    return rows


def control_rows() -> list[dict[str, str]]:
    """Return our test results on `cifar10-jpeg` beside the published ones and Keras's."""
    by_keras = keras().dropna(subset=["test_accuracy"])

    def theirs(architecture: str, logits: bool) -> str:
        part = by_keras[
            (by_keras["architecture"] == architecture) & (by_keras["logits"] == logits)
        ]
        values = part["test_accuracy"]
        each = ", ".join(f"{value:.2%}" for value in values)
        return f"{each} (n = {len(values)})" if each else "-"

    rows = []
    for architecture, name in NAMES.items():
        published = EXPERIMENTS["cifar10"].results[architecture].test_accuracy
        ours = tested("cifar10", architecture)[0].accuracies
        rows.append(
            {
                "network": name,
                "published, CIFAR-10": f"{published:.2%}",
                "ours, `cifar10-jpeg`": f"{fmean(ours):.2%} (n = {len(ours)})",
                "Keras on JAX, its clipped loss": theirs(architecture, logits=False),
                "Keras on torch, loss from logits": theirs(architecture, logits=True),
            }
        )
    return rows


def first_epoch_rows() -> list[dict[str, str]]:
    """Return the training loss of the first epoch, as it is and as Keras would have printed it."""
    lines = (RESULTS / "experiment" / "first-epoch.jsonl").read_text().splitlines()
    frame = pd.DataFrame([json.loads(line) for line in lines])
    rows = []
    for dataset, architecture in RUNS:
        part = frame[(frame["dataset"] == dataset) & (frame["architecture"] == architecture)]
        curves = published_curves(dataset)
        first = curves[(curves["architecture"] == architecture) & (curves["epoch"] == 1)]
        low, high = prediction_interval(part["loss_as_printed"].tolist())
        rows.append(
            {
                "network": place(dataset, architecture),
                "published": f"{first['train_loss'].item():.2f}",
                "ours, mean of the epoch": f"{part['loss'].mean():.2f}",
                "ours, as Keras printed it": f"{part['loss_as_printed'].mean():.2f}",
                "one more run, as printed (95 %)": f"{low:.2f} to {high:.2f}",
                "n": str(len(part)),
            }
        )
    return rows


@picture
def accuracy_curves() -> Figure:
    """Draw validation accuracy by epoch: each of our trainings, the published one, Keras."""
    figure = Figure(figsize=(9.6, 6.2), layout="constrained")
    grid = figure.subplots(2, 3, sharey="row")
    by_keras = keras().dropna(subset=["epoch"])
    for row, dataset in zip(grid, DATA, strict=True):
        ours, published = epochs(dataset), published_curves(dataset)
        for axes, architecture in zip(row, NAMES, strict=True):
            _curves(axes, ours[ours["architecture"] == architecture], COMPLETE, "-", "ours")
            if dataset == "cifar10":
                theirs = by_keras[by_keras["architecture"] == architecture]
                theirs = theirs.assign(trial=theirs["seed"])
                clipped, exact = (theirs[theirs["logits"] == is_exact] for is_exact in (0, 1))
                _curves(axes, clipped, STOPPED, "-", "Keras, same images, clipped loss")
                _curves(axes, exact, BASELINE, "-", "Keras, same images, loss from logits")
                if clipped["val_accuracy"].max() < CHANCE:
                    axes.annotate(
                        "Keras with the clip: at chance, below the axis",
                        (0.98, 0.03),
                        xycoords="axes fraction",
                        ha="right",
                        fontsize=8,
                    )
            once = published[published["architecture"] == architecture]
            _curves(axes, once.assign(trial=0), BEST, "--", "published")
            axes.set_title(place(dataset, architecture), fontsize=10)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            count_along(axes.xaxis)
        row[0].set_ylim((0.97, 0.998) if dataset == "mnist" else (0.35, 0.82))
        row[0].set_ylabel("validation accuracy")
    for axes in grid[1]:
        axes.set_xlabel("epoch")
    state_finding(
        figure,
        "On MNIST our trainings follow the published curves; on cifar10-jpeg ours and Keras's "
        "end below them",
    )
    legend_below(figure, grid[1][1], 4, "Each line is one training. Published: CIFAR-10 itself.")
    return figure


@picture
def distances() -> Figure:
    """Draw how far test accuracy lies from the published one, for each training."""
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    axes = figure.subplots()
    by_keras = keras().dropna(subset=["test_accuracy"])
    below: dict[str, list[float]] = {dataset: [] for dataset in (*DATA, "keras")}
    for row, (dataset, architecture) in enumerate(RUNS):
        published = EXPERIMENTS[dataset].results[architecture].test_accuracy
        ours = [
            100 * (value - published)
            for one in tested(dataset, architecture)
            for value in one.accuracies
        ]
        axes.plot(
            ours,
            [row - 0.12] * len(ours),
            "o",
            color=COMPLETE,
            alpha=0.7,
            label="ours" if row == 0 else None,
        )
        below[dataset] += [-gap for gap in ours]
        if dataset == "cifar10":
            theirs = by_keras.loc[by_keras["architecture"] == architecture, "test_accuracy"]
            gaps = [100 * (value - published) for value in theirs if value > CHANCE]
            label = "Keras, same images" if architecture == "model2" else None
            below["keras"] += [-gap for gap in gaps]
            axes.plot(gaps, [row + 0.12] * len(gaps), "^", color=BEST, label=label)
    axes.axvline(0, color=BASELINE, linewidth=1)
    axes.set_yticks(range(len(RUNS)), [place(*one) for one in RUNS])
    axes.invert_yaxis()
    axes.set_xlabel("test accuracy, points from the published one")
    near, far, further = (below[name] for name in (*DATA, "keras"))
    state_finding(
        figure,
        f"MNIST comes out within {max(map(abs, near)):.2f} points; cifar10-jpeg ends "
        f"{min(far):.1f} to {max(far):.1f} points below, and Keras {min(further):.1f} to "
        f"{max(further):.1f}",
    )
    legend_below(
        figure, axes, 2, "Each mark is one training. Keras's Model 1, at chance, is left out."
    )
    return figure


@dataclass(frozen=True)
class Recipe:
    """The trainings of the proposed network by one recipe, each with another seed.

    Attributes:
        folders: where `docs/results` has their frames.
        color: of their curves.
        line: style of their curves.
        candidate: which of the candidates, in a confirmation.
    """

    folders: tuple[str, ...]
    color: str
    line: str
    candidate: str = ""

    def accuracies(self, views: str) -> list[float]:
        """Return the test accuracies by these views, one for each training tested by them."""
        tests = viewed()
        return [
            float(one)
            for folder in self.folders
            for one in (
                self._tests(folder)["accuracy"]
                if _views(folder) == views
                else tests[tests["run"] == folder][views]
            )
        ]

    @property
    def views(self) -> str:
        """Views of an image by which the curves are."""
        return _views(self.folders[0])

    @property
    def epochs(self) -> pd.DataFrame:
        """Epochs of the trainings validated by `views`; a trial is named with its folder."""
        frames = []
        for folder in self.folders:
            if _views(folder) == self.views:
                frame = pd.read_parquet(RESULTS / folder / "epochs.parquet")
                frame = frame[frame["trial"].isin(self._tests(folder)["trial"])]
                frames.append(frame.assign(trial=f"{folder} " + frame["trial"].astype(str)))
        return pd.concat(frames, ignore_index=True)

    def _tests(self, folder: str) -> pd.DataFrame:
        """Return the test results of a run, by the views with which it was trained."""
        frame = pd.read_parquet(RESULTS / folder / "evaluations.parquet")
        return frame[frame["candidate"].isin(["", self.candidate])]


def _views(folder: str) -> str:
    """Return the views of an image by which the models of a run were validated and tested."""
    space = RESULTS / folder / "space.yaml"
    searched = space.exists() and "views: shifted" in space.read_text()
    return "shifted" if searched else "one"


def viewed() -> pd.DataFrame:
    """Return the test results of models that were tested by one, two and six views."""
    lines = (RESULTS / "experiment" / "views.jsonl").read_text().splitlines()
    frame = pd.DataFrame([json.loads(line) for line in lines])
    return frame[frame["part"] == "test"]


RECIPES = {
    "three epochs, searched": Recipe(("recipe-three-epochs-views",), STOPPED, "-"),
    "four epochs, searched": Recipe(("recipe-four-epochs-searched",), BASELINE, ":"),
    "four epochs": Recipe(("recipe-four-epochs-views",), BEST, ":"),
    "five epochs": Recipe(
        ("recipe-five-epochs-views", "recipe-five-epochs-views-more", "recipe-five-epochs"),
        BEST,
        "-.",
        "trial 0",
    ),
    "six epochs": Recipe(("recipe-six-epochs/confirmed",), BEST, "-", "trial 21"),
    "40 epochs": Recipe(("recipe-forty-epochs",), COMPLETE, "--"),
    "40 epochs, regularized": Recipe(("recipe-forty-regularized",), COMPLETE, "-"),
    "40 epochs, half the dropout": Recipe(("recipe-forty-half-dropout",), COMPLETE, ":"),
    "24 epochs, twice the width": Recipe(("recipe-width-two",), BASELINE, "--"),
    "40 epochs, twice the width, regularized": Recipe(
        ("recipe-width-two-regularized",), BASELINE, "-"
    ),
    "40 epochs, twice the width, half the dropout": Recipe(
        ("recipe-width-two-half-dropout",), BASELINE, "-."
    ),
}
"""All have the settings of the search for six epochs, but for regularized and searched ones."""
HEADLINE = ("four epochs, searched", "40 epochs, twice the width, half the dropout")
"""The recipes that the picture names: the best of their lengths by the validation images."""


def recipe_rows() -> list[dict[str, str]]:
    """Return the test results of each recipe on `cifar10-jpeg`, the published protocol first."""
    published = "published protocol, up to 100 epochs"
    found = {(published, "one"): tested("cifar10", "proposed")[0].accuracies}
    for name, recipe in RECIPES.items():
        found |= {(name, views): recipe.accuracies(views) for views in ("one", "shifted")}

    def between(ends: tuple[float, float]) -> str:
        low, high = max(ends[0], 0.0), min(ends[1], 1.0)
        return f"{100 * low:.2f} to {high:.2%}"

    return [
        {
            "recipe": name,
            "views": VIEWS[views],
            "test accuracy of each seed": ", ".join(f"{one:.2%}" for one in each),
            "n": str(len(each)),
            "mean": f"{fmean(each):.2%}",
            "mean over many seeds (95 %)": between(mean_interval(each)),
            "one more run (95 %)": between(prediction_interval(each)),
        }
        for (name, views), each in found.items()
        if each
    ]


def view_rows() -> list[dict[str, str]]:
    """Return test accuracy by the views of an image, of the same models."""
    tests = viewed()
    names = {folder: name for name, recipe in RECIPES.items() for folder in recipe.folders}
    rows = []
    for name, part in tests.groupby([names[run] for run in tests["run"]], sort=False):
        row = {"training": str(name), "n": str(len(part))}
        for views, words in VIEWS.items():
            row[f"{words}, mean"] = f"{part[views].mean():.2%}"
        for views in ("mirrored", "shifted"):
            gains = (part[views] - part["one"]).tolist()
            low, high = (100 * end for end in mean_interval(gains))
            row[f"{VIEWS[views]} less one, points (95 %)"] = (
                f"{100 * fmean(gains):.2f} ({low:.2f} to {high:.2f})"
            )
        rows.append(row)
    return rows


def run_rows() -> list[dict[str, str]]:
    """Return what each search took that the page links to, as its summary says."""
    page = (DOCS / "experiment.md").read_text()
    rows = []
    for folder in dict.fromkeys(re.findall(r"\(results/([\w/-]+)/summary\.md\)", page)):
        if folder.startswith("reproduce-"):
            continue  # these are in the table of costs
        summary = (RESULTS / folder / "summary.md").read_text()
        if found := re.search(r"- sessions: (\d+), (.+)", summary):
            sessions, clock = found.groups()
            training, epochs = re.findall(
                r"- training: (.+?) of all .+?, ([\d,]+) epochs", summary
            )[0]
            rows.append(
                {
                    "run": f"`{folder}`",
                    "epochs": epochs,
                    "hours of training": training,
                    "by the clock": clock.replace(" in all", ""),
                    "sessions": sessions,
                }
            )
    return rows


@picture
def recipes() -> Figure:
    """Draw validation accuracy by epoch of the recipes that the searches found."""
    figure = Figure(figsize=(8.4, 5.4), layout="constrained")
    axes = figure.subplots()
    for name, recipe in RECIPES.items():
        frame = recipe.epochs
        label = f"{name} (n = {frame['trial'].nunique()}, {VIEWS[recipe.views]})"
        _curves(axes, frame, recipe.color, recipe.line, label)
    axes.axhline(
        EXPERIMENTS["cifar10"].results["proposed"].test_accuracy,
        color=STOPPED,
        linestyle=":",
        label="published test accuracy, on CIFAR-10",
    )
    axes.set_ylim(0.6, 0.9)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    count_along(axes.xaxis)
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation accuracy")
    found = {name: RECIPES[name].accuracies("shifted") for name in HEADLINE}
    state_finding(
        figure,
        "Mean test accuracy by six views, on cifar10-jpeg: "
        + "; ".join(
            f"{fmean(each):.2%} (n = {len(each)}) in {name}" for name, each in found.items()
        ),
    )
    legend_below(figure, axes, 2, "Each line is one training, on cifar10-jpeg.")
    return figure


def _curves(axes: Axes, frame: pd.DataFrame, color: str, style: str, label: str) -> None:
    for count, (_, part) in enumerate(frame.groupby("trial")):
        axes.plot(
            part["epoch"],
            part["val_accuracy"],
            style,
            color=color,
            linewidth=1.0,
            alpha=0.8,
            label=label if count == 0 else None,
        )


TABLES: Mapping[str, Callable[[], list[dict[str, str]]]] = {
    "accuracy": lambda: test_rows(lambda one: one.accuracies, "accuracy"),
    "loss": lambda: test_rows(lambda one: one.losses, "loss"),
    "cost": cost_rows,
    "controls": control_rows,
    "first_epoch": first_epoch_rows,
    "recipes": recipe_rows,
    "views": view_rows,
    "runs": run_rows,
}
FIGURES: Mapping[str, Callable[[], Figure]] = {
    "experiment-curves": accuracy_curves,
    "experiment-distances": distances,
    "experiment-recipes": recipes,
}


def rows_of(name: str) -> list[dict[str, str]]:
    """Return the rows of a table of the page."""
    return TABLES[name]()


def main() -> None:
    page = DOCS / "experiment.md"
    page.write_text(with_tables(page.read_text(), rows_of))
    for name, draw in FIGURES.items():
        (DOCS / "images" / f"{name}.svg").write_bytes(encode(draw(), Format.svg))


if __name__ == "__main__":
    main()
