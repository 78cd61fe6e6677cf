from __future__ import annotations

import linecache
import re
import shlex
import shutil
import subprocess
import sys
import types
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.command import main
from tests.support.paths import ROOT
from tunecnn.models.architecture import Architecture
from tunecnn.space.space import SearchSpace
from tunecnn.space.strategy import PRUNERS, SAMPLERS
from tunecnn.trial.config import SETTINGS

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in link:
            assert (page.parent / link).exists(), link


def commands(page: Path) -> list[str]:
    text = page.read_text().replace("\\\n", " ")
    return [
        line.strip()
        for line in text.splitlines()
        if re.match(r" {4}tunecnn \w", line) and "|" not in line
    ]


def test_the_readmes_commands_are_understood(capsys):
    found = commands(ROOT / "README.md")
    assert len(found) >= 4
    for command in found:
        words = shlex.split(command, comments=True)[1:]
        assert main(*words, "--help") == 0, command
        assert "Usage: tunecnn" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_search_is_the_main_job_in_one_process():
    done = subprocess.run(
        ["make", "-n", "search"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    (command,) = [line for line in done.stdout.splitlines() if "tunecnn search" in line]
    words = shlex.split(command)
    assert words[1:] == ["search", "--space", "digits.yaml", "--local"]


def test_the_readmes_two_commands_are_targets():
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in ("search", "test"):
        assert f"make {target}" in readme
        assert f"\n{target}:" in makefile


@pytest.mark.parametrize(
    "path", sorted((ROOT / "search_spaces").glob("*.yaml")), ids=lambda p: p.name
)
def test_every_shipped_space_is_whole_named_as_its_file_and_says_why(path):
    space = SearchSpace.from_yaml(path)
    assert space.name == path.stem
    assert space.goal.endswith("?")
    assert space.warnings() == []
    assert path.read_text().startswith("# ")
    for point in [{}, *space.start_points()]:
        assert space.config(point)


def test_a_wheel_carries_the_spaces_the_notebooks_and_the_templates(tmp_path):
    pytest.importorskip("hatchling", reason="the build backend is not installed")
    from hatchling.builders.wheel import WheelBuilder

    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    import zipfile

    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, there in (
        ("search_spaces/*.yaml", "search_spaces"),
        ("notebooks/*.ipynb", "notebooks"),
        ("tunecnn/summary/templates/*", "summary/templates"),
    ):
        files = [*ROOT.glob(folder)]
        assert files
        assert {f"tunecnn/{there}/{path.name}" for path in files} <= names


def test_the_reference_of_spaces_is_complete_and_its_example_can_be_read():
    page = (ROOT / "docs" / "spaces.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.S)
    space = SearchSpace.from_text(example)
    assert set(re.findall(r"^(\w+):", example, flags=re.M)) == set(SearchSpace.model_fields)
    own = {"dataset", "architecture", "code", "epochs", "seed", "split_seed"}
    arguments = [f"net.{name}" for name in Architecture("proposed", ROOT).signature.arguments]
    for name in [*SETTINGS - own, *arguments]:
        stem = re.sub(r"\d$", "", name)
        assert f"`{name}`" in page or f"`{stem}1` to" in page, name
    for kinds, default in ((SAMPLERS, space.sampler), (PRUNERS, space.pruner)):
        assert type(default) in kinds.values()
        for name, part in kinds.items():
            options = ", ".join(f"`{key}: {value}`" for key, value in dict(part()).items())
            assert f"| `{name}` | {options}" in page, name


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder outside the repository, in which a page is followed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNECNN_DATA", str(tmp_path / "data"))
    return tmp_path


@pytest.mark.slow
def test_the_page_about_python_can_be_followed(elsewhere, capsys, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.S)
    page = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", page)
    for number, block in enumerate(blocks):
        name = f"<block {number}>"
        linecache.cache[name] = (len(block), None, block.splitlines(keepends=True), name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            exec(compile(block, name, "exec"), page.__dict__)
    lines = capsys.readouterr().out.splitlines()
    assert {"0 complete", "1 complete"} <= set(lines)  # of the listener
    assert len(page.second.trials) == 6


SMALLER = {
    "search": ["--trials", "3", "--epochs", "2", "--local"],
    "resume": ["--trials", "+1", "--local"],
    "confirm": ["--local"],
    "reproduce": ["--against", "none", "--models", "model1", "--epochs", "1", "--local"],
    "watch": ["--once"],
}
"""Options by command with which a page is followed in a minute, on images that come with it."""


def follow(
    commands: Iterable[str], names: Mapping[str, str], more: Mapping[str, list[str]]
) -> None:
    """Run the commands of a page, with other names and, by command, more options."""
    for command in commands:
        for name, other in names.items():
            command = command.replace(name, other)
        words = shlex.split(command, comments=True)[1:]
        added = more.get("resume" if "--resume" in words else words[0], [])
        assert main(*words, *added) == 0, command


@pytest.mark.slow
def test_the_page_about_networks_can_be_followed(elsewhere):
    page = (ROOT / "docs" / "own-network.md").read_text()
    (elsewhere / "nets.py").write_text(re.findall(r"```python\n(.*?)```", page, re.S)[0])
    (elsewhere / "tiny.yaml").write_text(re.findall(r"```yaml\n(.*?)```", page, re.S)[0])
    commands = re.findall(r"```\n(tunecnn .*?)```", page, re.S)[0].splitlines()
    follow(commands, {}, {})
    assert (elsewhere / "tiny.pt2").is_file()


@pytest.mark.slow
def test_the_page_about_images_can_be_followed(elsewhere, image_tree):
    page = (ROOT / "docs" / "images.md").read_text()
    image_tree(size=40, count=20).rename(elsewhere / "photos")
    (command,) = re.findall(r"```\n(tunecnn .*?)```", page, re.S)
    (block,) = re.findall(r"```python\n(.*?)```", page, re.S)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, 8, 8), dtype=np.uint8)
    np.savez("arrays.npz", images=images, labels=np.arange(60) % 2)
    before = 'import numpy\narrays = numpy.load("arrays.npz")\n'
    names = "images, labels = arrays['images'], arrays['labels']\n"
    (elsewhere / "mine.py").write_text(before + names + block)
    follow(command.splitlines(), {}, {})
    inside = set(re.findall(r"`(tunecnn data .*?)`", page)) - {"tunecnn data prepare cifar10"}
    assert len(inside) == 3  # of images that come with it
    follow(inside, {"PATH": "photos", "prepare": "prepare imagefolder:photos --size 32"}, {})
    for name in ("arrays.npz", "mine.py:load"):
        assert main("data", "report", name) == 0
        search = ["search", "--space", "digits.yaml", "--dataset", name, "--name", name[:4]]
        assert main(*search, *SMALLER["search"]) == 0


@pytest.mark.parametrize("name", ["columns.md", "commands.md", "settings.md"])
def test_a_page_of_the_reference_is_what_the_code_says(name, request):
    from tests.reference import PAGES

    page = ROOT / "docs" / name
    if request.config.getoption("--update-golden"):
        page.write_text(PAGES[name]())
    assert page.read_text() == PAGES[name]()


def test_each_public_name_has_its_place_and_an_example():
    import tunecnn

    page = (ROOT / "docs" / "api.md").read_text()
    for name in tunecnn.__all__:
        if name == "plots":
            assert "tunecnn.plots." in page
            continue
        assert re.search(rf"^::: tunecnn\.[\w.]*\b{name}$", page, re.M), name
        examples = re.findall(r"^>>> .*|^\.\.\. .*", page, re.M)
        assert any(re.search(rf"\b{name}\b", line) for line in examples) or name in (
            "EpochMetrics",
            "TrainedModel",
            "Run",
            "TrialConfig",  # what other names return
        ), name


@pytest.mark.slow
def test_the_examples_of_the_public_names_are_right(elsewhere):
    import doctest

    page = (ROOT / "docs" / "api.md").read_text()
    test = doctest.DocTestParser().get_doctest(page, {}, "api.md", "api.md", 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    said: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def blocks(name: str) -> list[str]:
    """The commands of a page, one by one."""
    page = (ROOT / "docs" / name).read_text()
    return [
        line
        for block in re.findall(r"```bash\n(.*?)```", page, re.S)
        for line in block.splitlines()
    ]


@pytest.mark.slow
def test_the_page_of_the_first_result_can_be_followed(elsewhere, capsys):
    commands = blocks("first-result.md")
    assert len(commands) >= 6
    follow(commands, {}, {})
    assert (elsewhere / "runs" / "first" / "summary.html").is_file()
    assert "16 of 16 trials have ended" in capsys.readouterr().out


@pytest.mark.slow
def test_the_page_about_designing_a_search_has_a_space_that_is_right(elsewhere):
    page = (ROOT / "docs" / "designing.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.S)
    (elsewhere / "space.yaml").write_text(text)
    assert main("spaces", "check", "space.yaml") == 0


@pytest.mark.slow
def test_the_readme_can_be_followed(elsewhere, image_tree):
    found = [one for one in commands(ROOT / "README.md") if "--address" not in one]
    names = {
        "proposed.yaml --dataset": "proposed.yaml --name own --dataset",
        "imagefolder:PATH": f"imagefolder:{image_tree(size=8, count=20)}",
        "search --space proposed.yaml": "search --space digits.yaml --name first",
        "proposed.yaml": "digits.yaml",
        "proposed-cifar10-20261124-093000": "first",
        "--top 3 --seeds 5": "--top 2 --seeds 2",
        "mnist --seeds 5": "digits --seeds 2",
    }
    follow(found, names, SMALLER)
    first = elsewhere / "runs" / "first"
    assert (first / "summary.html").is_file()
    assert (first / "confirmations" / "top2-seeds2" / "summary.md").is_file()


@pytest.mark.slow
def test_the_page_about_following_a_run_can_be_followed(elsewhere, scripted_run, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    (elsewhere / "notify.py").write_text("import sys; open('said', 'w').write(sys.argv[2])")
    found = [one for one in blocks("following.md") if "dashboard" not in one]
    names = {"RUN": str(scripted_run), "python notify": f"{sys.executable} notify"}
    follow(found, names, SMALLER)
    assert (elsewhere / "said").read_text() == "done"
    assert (elsewhere / "mlflow.db").is_file()
    assert list(elsewhere.glob("runs/*/tensorboard/trial-00000/events*"))
    assert list(elsewhere.glob("runs/*/trackers/wandb/offline-run-*"))


def test_the_commands_of_the_page_about_following_are_understood(capsys):
    for command in blocks("following.md"):
        assert main(*shlex.split(command)[1:], "--help") == 0, command


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "s")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING " not in done.stderr
    for page in (tmp_path / "s").rglob("*.html"):
        assert "::: tunecnn" not in page.read_text(), page


@pytest.mark.slow
def test_nothing_serious_stands_in_the_way_of_a_screen_reader_on_the_site(tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api")
    from axe_playwright_python.sync_playwright import Axe

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    found = {}
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for path in sorted(tmp_path.glob("*/index.html")):
            page = browser.new_page()
            page.goto(path.as_uri())
            page.wait_for_timeout(300)
            found[path.parent.name] = [
                (one["id"], one["nodes"][0]["html"][:150])
                for one in Axe().run(page).response["violations"]
                if one["impact"] in ("serious", "critical")
            ]
            page.close()
        browser.close()
    assert {name: what for name, what in found.items() if what} == {}
    assert len(found) > 10


def test_kept_frames_name_no_place_on_a_machine():
    frames = sorted((ROOT / "docs" / "results").rglob("trials.parquet"))
    assert len(frames) > 5
    for path in frames:
        names = set(pd.read_parquet(path)["dataset"])
        assert not {name for name in names if ":/" in name}, path
