"""The cache of decoded images, sizes, groups, and what is said about files that cannot be used."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from types import SimpleNamespace

import numpy as np
import PIL
import pytest
from PIL import Image

from tests.support.trees import picture, save, tree
from tunecnn.data.folder import cache, pixels, reader
from tunecnn.data.folder.reader import read_imagefolder
from tunecnn.data.folder.tree import open_tree
from tunecnn.data.loading import clean, load_dataset
from tunecnn.data.options import ImageOptions
from tunecnn.data.splits import Split
from tunecnn.errors import InputError


@pytest.fixture
def decoded(monkeypatch):
    """The number of times that a tree was decoded."""
    count = []
    real = reader.decode
    monkeypatch.setattr(reader, "decode", lambda *given: count.append(1) or real(*given))
    return count


@pytest.fixture
def root(tmp_path):
    return tree(tmp_path / "t")


def agrees(root, arrays):
    """Whether the pixels are those of the files now."""
    pixels_now = [np.asarray(Image.open(root / name)) for name in arrays.reading.files]
    return np.array_equal(
        np.stack(pixels_now), np.concatenate([arrays.train.pixels, arrays.test.pixels])
    )


@pytest.fixture(params=["old", "fresh"])
def age(request, monkeypatch):
    """Whether the files are old enough that their states identify their contents."""
    if request.param == "old":
        monkeypatch.setattr(cache, "_FRESH_SECONDS", -1e6)
    return request.param


def test_the_second_load_does_not_decode(root, decoded):
    first, second = read_imagefolder(root), read_imagefolder(root)
    assert first.fingerprint() == second.fingerprint()
    assert first.reading == second.reading
    assert len(decoded) == 1


def swap(one, other):
    keep = one.with_suffix(".keep")
    one.rename(keep)
    other.rename(one)
    keep.rename(other)


def copy_with_times(root):
    shutil.copy2(
        root / "train" / "dog" / "train_dog_0.png", root / "train" / "cat" / "train_cat_0.png"
    )


def same_size_same_time(root):
    """Only the time of the last change of its state, which no program can set, tells it."""
    path = root / "train" / "cat" / "train_cat_0.png"
    before = path.stat()
    content = bytearray(path.read_bytes())
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path, compress_level=0)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert content != path.read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda r: swap(
            r / "train" / "cat" / "train_cat_0.png", r / "train" / "dog" / "train_dog_3.png"
        ),
        lambda r: swap(r / "train" / "cat", r / "train" / "dog"),
        copy_with_times,
        same_size_same_time,
        lambda r: (r / "test" / "dog" / "test_dog_5.png").unlink(),
        lambda r: save(r / "test" / "dog" / "new.png"),
        lambda r: swap(r / "train", r / "test"),
    ],
)
def test_a_change_of_the_tree_is_always_seen(change, age, root):
    path = root / "train" / "cat" / "train_cat_0.png"
    Image.open(path).save(path, compress_level=0)  # as `same_size_same_time` writes it
    read_imagefolder(root)
    (index,) = root.with_name("t.tunecnn-cache").glob("*/index.json")
    assert bool(json.loads(index.read_text())["fresh"]) == (age == "fresh")
    change(root)
    assert agrees(root, read_imagefolder(root))


def test_a_file_that_changes_right_after_it_was_read_is_seen_by_its_content(root, monkeypatch):
    """On a file system whose times are coarse, the state of the file is the same afterwards."""
    from tunecnn.data.folder import tree as trees

    frozen = trees._tree_file
    monkeypatch.setattr(
        trees, "_tree_file", lambda name, status: frozen(name, status)._replace(state=(1,))
    )
    read_imagefolder(root)
    save(root / "train" / "cat" / "train_cat_0.png")
    assert agrees(root, read_imagefolder(root))


def test_another_pillow_or_decoder_decodes_again(root, decoded, monkeypatch):
    read_imagefolder(root)
    monkeypatch.setattr(PIL, "__version__", "99.0")
    read_imagefolder(root)
    monkeypatch.setattr(cache, "VERSION", pixels.VERSION + 1)
    read_imagefolder(root)
    assert len(decoded) == 3


def test_each_size_is_kept(root, decoded):
    for options in (ImageOptions(), ImageOptions(size=8), ImageOptions(), ImageOptions(size=8)):
        read_imagefolder(root, options)
    assert len(decoded) == 2


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *itertools.product(["pixels.npy", "index.json"], ["flip", "cut", "empty", "gone"]),
        ("pixels.npy", "huge"),
    ],
)
def test_a_damaged_cache_is_made_anew(name, damage, root, tmp_path, decoded):
    before = read_imagefolder(root).fingerprint()
    (path,) = (tmp_path / "t.tunecnn-cache").glob(f"*/{name}")
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-3] ^= 1
    elif damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "empty":
        data = bytearray()
    elif damage == "huge":
        assert b"(24," in data
        data = bytearray(bytes(data).replace(b"(24,", b"(99999999999,"))
    path.write_bytes(data)
    if damage == "gone":
        path.unlink()
    assert read_imagefolder(root).fingerprint() == before
    assert len(decoded) == 2


def test_without_a_place_for_the_cache_it_goes_on_with_one_warning(
    root, tmp_path, monkeypatch, caplog
):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert agrees(root, read_imagefolder(root, None, tmp_path / "data"))
    (record,) = caplog.records
    assert "could not be kept" in record.getMessage()
    assert "No space left on device" in record.getMessage()
    assert not (tmp_path / "t.tunecnn-cache").exists()


def test_a_cache_that_fails_leaves_the_one_beside_it(root, tmp_path, monkeypatch):
    place = tmp_path / "t.tunecnn-cache"

    def fails(*_):
        (place / "of another process").mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", fails)
    read_imagefolder(root)
    assert [path.name for path in place.iterdir()] == ["of another process"]


def test_what_a_killed_process_left_in_a_cache_is_removed(root, tmp_path):
    left = tmp_path / "t.tunecnn-cache" / ".partial-abc"
    left.mkdir(parents=True)
    fresh = left.with_name(".partial-def")
    fresh.mkdir()
    os.utime(left, (1, 1))
    read_imagefolder(root)
    assert not left.exists()
    assert fresh.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_place_sends_the_cache_elsewhere(root, tmp_path):
    root.parent.chmod(0o500)
    try:
        read_imagefolder(root, None, tmp_path / "data")
    finally:
        root.parent.chmod(0o700)
    assert list((tmp_path / "data").rglob("index.json"))


def test_a_file_size_limit_is_no_traceback(root):
    """As on a full disk: the cache cannot be written, and the images are used all the same."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512));"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "from tunecnn.data.folder.reader import read_imagefolder; from pathlib import Path;"
        f"print(len(read_imagefolder(Path({str(root)!r})).train))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "12", done.stderr


def test_the_cache_can_be_removed(root, tmp_path):
    read_imagefolder(root)
    assert clean(f"imagefolder:{root}", tmp_path / "data") == [tmp_path / "t.tunecnn-cache"]
    assert clean(f"imagefolder:{root}", tmp_path / "data") == []
    assert read_imagefolder(root).reading.used == 24
    with pytest.raises(InputError, match="digits has no decoded copies"):
        clean("digits")


def test_a_linked_cache_is_not_removed(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "t.tunecnn-cache").symlink_to(tmp_path / "elsewhere")
    assert clean(f"imagefolder:{root}", tmp_path / "data") == []
    assert (tmp_path / "elsewhere").is_dir()


def test_all_files_that_cannot_be_used_are_named_in_one_message(root):
    for i in range(11):
        (root / "train" / "cat" / f"bad{i:02}.jpg").write_bytes(b"x")
    (root / "test" / "dog" / "worse.png").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        read_imagefolder(root)
    text = str(caught.value)
    assert "12 files of 36 cannot be used" in text
    assert "train/cat/bad00.jpg: not an image that can be read" in text
    assert "and 4 more" in text
    assert "--skip-bad" in text
    reading = read_imagefolder(root, ImageOptions(skip_bad=True)).reading
    assert reading.used == 24
    assert len(reading.bad) == 12
    with pytest.raises(InputError, match="12 files"):  # the cache does not hide them
        read_imagefolder(root)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("{}.dcm", "save each as PNG"),
        ("{}.npy", "write one .npz"),
        ("{}.nii.gz", "as PNG"),
        ("{}.mat", "write one .npz"),
        ("{}.AVI", "save frames"),
    ],
)
def test_files_of_formats_that_are_not_read_say_what_to_do_instead(name, words, tmp_path):
    for i in range(6):
        path = tmp_path / "ab"[i % 2] / name.format(i)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(200))
    with pytest.raises(InputError, match=words):
        read_imagefolder(tmp_path)


def test_a_class_without_a_usable_file_is_named(root):
    for path in (root / "test" / "dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match="no test image of dog: none of its 6 files"):
        read_imagefolder(root, ImageOptions(skip_bad=True))


def test_mixed_sizes_are_counted_and_a_size_takes_them(root):
    save(root / "train" / "cat" / "wide.png", picture(size=(10, 30)))
    save(root / "test" / "cat" / "small.png", picture(size=(4, 4)))
    with pytest.raises(
        InputError, match=r"3 different sizes, from 4x4 to 30x10 .* 10x10 \(24 of 26\)"
    ):
        read_imagefolder(root)
    for fit in ("crop", "pad", "stretch"):
        arrays = read_imagefolder(root, ImageOptions(size=16, fit=fit))
        assert arrays.train.pixels.shape == (13, 16, 16, 3)


def test_grey_images_stay_grey_unless_one_is_not(root):
    for path in root.rglob("*.png"):
        picture(channels=1).save(path)
    assert read_imagefolder(root).train.pixels.shape == (12, 10, 10, 1)
    save(root / "test" / "dog" / "test_dog_5.png", picture())
    arrays = read_imagefolder(root)
    assert arrays.train.pixels.shape == (12, 10, 10, 3)
    assert np.array_equal(arrays.train.pixels[..., 0], arrays.train.pixels[..., 2])


def test_many_files_are_decoded_in_processes_in_their_order(tmp_path):
    root = tree(tmp_path / "t", count=150)
    assert agrees(root, read_imagefolder(root))


def test_images_larger_than_the_memory_are_refused_before_they_are_read(
    root, monkeypatch, decoded
):
    memory = SimpleNamespace(total=4096, available=10**9)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    with pytest.raises(InputError, match=r"24 images of 10x10x3 take 7.2 kB.*4.1 kB of memory"):
        read_imagefolder(root)
    assert not decoded


def groups_of(root, options, split):
    dataset = load_dataset(f"imagefolder:{root}", split, options=options)
    data = dataset.trial_data
    return data.train, data.validation, dataset.test


def test_groups_are_not_divided(tmp_path):
    for name in ("cat", "dog"):
        for patient in range(8):
            for i in range(3):
                image = Image.new("L", (6, 6), 30 * patient)
                image.putpixel((0, 0), i)
                image.putpixel((1, 0), 255 if name == "cat" else 0)
                save(tmp_path / "t" / name / f"p{patient}" / f"{name}{patient}{i}.png", image)
    rows = [f"{path.name},{path.parent.name}" for path in (tmp_path / "t").rglob("*.png")]
    (tmp_path / "groups.csv").write_text("\n".join(["file,group", *rows]))
    for groups in ("folder", str(tmp_path / "groups.csv")):
        parts = groups_of(tmp_path / "t", ImageOptions(groups=groups), Split(validation=0.3))
        patients = [set(part.pixels[:, 3, 3, 0].tolist()) for part in parts]
        assert not patients[0] & patients[1]
        assert not patients[0] & patients[2]
        assert not patients[1] & patients[2]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["0/1/a", "0/1/b", "0/0/c", "0/0/d", "1/0/e", "1/2/f"], [[0, 1], [2, 3, 4], [5]]),
        (
            ["cat/p1/v1/a", "cat/p1/v2/b", "cat/p2/v1/c", "dog/p2/d", "dog/e"],
            [[0, 1], [2, 3], [4]],
        ),
        (["train/cat/p1/a", "train/cat/p2/b", "train/dog/p1/c"], [[0, 2], [1]]),
        (["cat/train/p1/a", "cat/train/p2/b", "dog/train/p1/c"], [[0, 2], [1]]),
        (["caf\u0065\u0301/p1/a", "caf\u0065\u0301/p2/b", "dog/p1/c"], [[0, 2], [1]]),
    ],
)
def test_a_group_is_the_folder_below_that_of_the_class(files, expected, tmp_path):
    for name in files:
        save(tmp_path / "t" / f"{name}.png")
    arrays = read_imagefolder(tmp_path / "t", ImageOptions(groups="folder"))
    assert arrays.groups is not None
    place = {name.rpartition("/")[2]: i for i, name in enumerate(arrays.reading.files)}
    order = [place[f"{name.rpartition('/')[2]}.png"] for name in files]
    groups = arrays.groups[order].tolist()
    assert [
        [i for i, one in enumerate(groups) if one == group] for group in dict.fromkeys(groups)
    ] == expected


def test_folders_of_images_with_a_table_are_their_groups(tmp_path):
    rows = ["file,label"]
    for i in range(8):
        save(tmp_path / "t" / "images" / f"p{i // 2}" / f"{i}.png")
        rows.append(f"{i}.png,{'cat' if i % 2 else 'dog'}")
    (tmp_path / "t" / "labels.csv").write_text("\n".join(rows))
    with pytest.raises(InputError, match=r"the 4 folders or the labels of labels.csv\?"):
        read_imagefolder(tmp_path / "t")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,group\n", "needs the columns file and group"),
        ("name,patient\nx,1\n", "needs the columns file and group"),
        ("file,group\ntrain_cat_0.png,1\n", "has no group for 11 of 12 training images"),
        ("file,group\ntrain_cat_0.png,1\ntrain_cat_1.png\n \n", "has no group for 11 of 12"),
        ("file,group\ntrain_cat_0.png,1\ntrain_cat_1.png, \n", "has no group for 11 of 12"),
        (
            "file,group\ntrain_cat_0.png,1\ntrain/cat/train_cat_0.png,2\n",
            "two groups for train/cat/train_cat_0.png: 1 and 2; an image is in one",
        ),
    ],
)
def test_a_table_of_groups_that_cannot_be_used_is_named(text, message, root, tmp_path):
    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_imagefolder(root, ImageOptions(groups=str(tmp_path / "groups.csv")))


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
@pytest.mark.parametrize("how", ["between", "in a header", "bad header"])
def test_an_archive_that_is_cut_or_damaged_is_not_read_in_part(suffix, how, root, tmp_path):
    path = tmp_path / "whole.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(root, "t")
    with tarfile.open(path) as archive:
        starts = [member.offset for member in archive.getmembers()]
    content = bytearray(path.read_bytes())
    middle = starts[len(starts) // 2]
    if how == "bad header":
        content[middle : middle + 100] = b"?" * 100
    else:
        del content[middle + 200 * (how == "in a header") :]
    damaged = tmp_path / f"damaged{suffix}"
    damaged.write_bytes(gzip.compress(bytes(content)) if suffix == ".tar.gz" else bytes(content))
    with pytest.raises(InputError, match="cannot be read: it is damaged or cut"):
        read_imagefolder(damaged)


def test_folders_without_end_are_broken_and_cost_nothing(root, tmp_path):
    inner = root / "train" / "cat"
    for _ in range(90):
        inner = inner / "d"
    inner.mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "deep.zip", "w") as archive:
        for file in root.rglob("*.png"):
            archive.write(file, file.relative_to(root))
        archive.writestr("train/cat/" + "d/" * 30_000 + "x.png", b"")
    for one in (root, tmp_path / "deep.zip"):
        with pytest.raises(InputError, match="lies in more than 64 folders"):
            read_imagefolder(one)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_members_of_one_name_the_later_counts(root, tmp_path):
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        for file in [*root.rglob("*.png")] * 2:
            archive.write(file, file.relative_to(root))
    once, twice = read_imagefolder(root), read_imagefolder(tmp_path / "twice.zip")
    assert twice.fingerprint() == once.fingerprint()
    assert twice.reading.used == once.reading.used


def test_a_cache_that_is_a_link_is_not_written_to(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    root.with_name(f"{root.name}.tunecnn-cache").symlink_to(tmp_path / "elsewhere")
    read_imagefolder(root)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_scale_that_makes_all_images_one_colour_is_refused(tmp_path):
    values = np.random.default_rng(0).integers(1000, 4096, (8, 6, 6)).astype(np.uint16)
    for i, image in enumerate(values):
        save(tmp_path / "t" / "ab"[i % 2] / f"{i}.png", Image.fromarray(image))
    for scale, colour in ((255, "white"), (1e9, "black")):
        with pytest.raises(InputError, match=rf"with scale: \S+ all images are {colour}; say"):
            read_imagefolder(tmp_path / "t", ImageOptions(scale=scale))
    changed = read_imagefolder(tmp_path / "t", ImageOptions(scale=2000)).reading.changed
    assert changed == {"scaled to 8 bits": 8, "values above scale, now white": 8}


def test_groups_that_do_not_reach_the_data_sets_own_parts_are_said(tmp_path):
    for part in ("train", "val", "test"):
        for kind in ("cat", "dog"):
            tree(tmp_path / "t" / part / kind, ["p1", "p2", "p3"], count=2)
    options = ImageOptions(groups="folder")
    notes = load_dataset(f"imagefolder:{tmp_path / 't'}", options=options).sheet.notes
    assert any("own validation and test images stay where they are, and may" in n for n in notes)
    assert not any(
        "own" in note and "groups" in note
        for note in load_dataset(f"imagefolder:{tmp_path / 't'}").sheet.notes
    )


def test_names_in_a_tar_may_begin_with_dots(root, tmp_path):
    for prefix, is_fine in (("././t", True), ("../t", False)):
        with tarfile.open(tmp_path / "t.tar", "w") as archive:
            archive.add(root, prefix)
        if is_fine:
            assert read_imagefolder(tmp_path / "t.tar").reading.used == 24
            continue
        with pytest.raises(InputError):
            read_imagefolder(tmp_path / "t.tar")


def test_a_tar_that_is_not_compressed_is_not_read_into_memory_as_a_whole(tmp_path):
    files = {f"{i}.bin": np.random.default_rng(i).bytes(200_000) for i in range(40)}
    for suffix, mode in ((".tar", "w"), (".tar.gz", "w:gz")):
        with tarfile.open(tmp_path / f"t{suffix}", mode) as archive:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    names = [*files, "missing.bin"]
    packed = open_tree(tmp_path / "t.tar.gz")
    packed.list()
    expected = list(packed.contents(names))
    tree_ = open_tree(tmp_path / "t.tar")
    tree_.list()
    tracemalloc.start()
    for found, wanted in zip(tree_.contents(names), expected, strict=True):
        assert found == wanted
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000
