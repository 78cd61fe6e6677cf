"""Where the images of a tree are found, and what becomes of every other file."""

from __future__ import annotations

import errno
import io
import os
import shutil
import tarfile
import time
import unicodedata
import zipfile
from pathlib import Path

import pytest

from tests.support.trees import picture, save, tree
from tunecnn.data.folder import tables
from tunecnn.data.folder.layout import find_layout
from tunecnn.data.folder.reader import read_imagefolder
from tunecnn.data.folder.rows import rows_of
from tunecnn.data.folder.tree import Listing, TreeFile
from tunecnn.data.loading import load_dataset
from tunecnn.data.options import ImageOptions
from tunecnn.errors import InputError


def rename(root, old, new):
    (root / old).rename(root / new)


def counts(root):
    """The number of training, validation and test images of a tree, as a search gets them."""
    dataset = load_dataset(f"imagefolder:{root}")
    return tuple(sum(part) for part in dataset.sheet.counts.values())


def test_every_image_has_the_pixels_and_the_label_of_its_file(tmp_path):
    arrays = read_imagefolder(tree(tmp_path / "t"))
    labels = [*arrays.train.labels, *arrays.test.labels]
    assert len(arrays.reading.files) == len(labels) == 24
    for name, label in zip(arrays.reading.files, labels, strict=True):
        assert name.split("/")[1] == arrays.classes[label]


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["Train/cat", "Train/dog", "TEST/cat", "TEST/dog"], (9, 3, 12)),
        (["training/cat", "training/dog", "testing/cat", "testing/dog"], (9, 3, 12)),
        (
            ["data/set/train/cat", "data/set/train/dog", "data/set/test/cat", "data/set/test/dog"],
            (9, 3, 12),
        ),
        (["train/train/cat", "train/train/dog", "test/cat", "test/dog"], (9, 3, 12)),
        (["cat/train", "dog/train", "cat/test", "dog/test"], (9, 3, 12)),
        (
            ["train/cat", "train/dog", "valid/cat", "valid/dog", "test/cat", "test/dog"],
            (12, 12, 12),
        ),
        (["train/cat", "train/dog", "dev/cat", "dev/dog"], (9, 12, 3)),
        (["train/cat", "train/dog"], (7, 2, 3)),
        (["cat", "dog"], (7, 2, 3)),
        (["photos/cat", "photos/dog"], (7, 2, 3)),
    ],
)
def test_a_layout_whose_meaning_is_clear_is_read(folders, expected, tmp_path):
    assert counts(tree(tmp_path / "t", folders)) == expected


def test_a_train_is_a_vehicle_where_it_stands_beside_others(tmp_path):
    arrays = read_imagefolder(tree(tmp_path / "t", ["bus", "car", "train"]))
    assert arrays.classes == ("bus", "car", "train")
    tree(tmp_path / "t", ["train/deep"])
    with pytest.raises(InputError, match="has 1 class folder, and at least 2"):
        read_imagefolder(tmp_path / "t")


def test_what_was_inferred_is_said(tmp_path):
    root = tree(tmp_path / "t", ["x/train/cat", "x/train/dog", "x/val/cat", "x/val/dog"])
    notes = " / ".join(load_dataset(f"imagefolder:{root}").sheet.notes)
    assert "everything is in x/" in notes
    assert "own validation images validate" in notes
    assert "3 of the 12 training images test" in notes


def test_images_in_folders_below_a_class_belong_to_it(tmp_path):
    root = tree(tmp_path / "t")
    save(root / "train" / "cat" / "siamese" / "old" / "1.png")
    assert sum(read_imagefolder(root).train.labels == 0) == 7


def test_every_file_that_is_not_used_is_counted_by_its_reason(tmp_path):
    root = tree(tmp_path / "t")
    (root / "train" / "cat" / ".hidden.png").write_bytes(b"x")
    save(root / "train" / ".ipynb_checkpoints" / "a" / "copy.png")
    save(root / "train" / "@eaDir" / "thumb.png")
    (root / "test" / "dog" / "Thumbs.db").write_bytes(b"x")
    (root / "test" / "dog" / "._1.png").write_bytes(b"x")
    (root / "train" / "dog" / "notes.txt").write_text("about the dogs")
    (root / "train" / "dog" / "LICENSE").write_text("free")
    save(root / "train" / "loose.png")
    save(root / "more" / "1.png")
    reading = read_imagefolder(root).reading
    assert reading.used == 24
    assert reading.left_out == {
        "hidden": 2,
        "system file": 3,
        "outside the class folders": 2,
        "not an image (.txt, no suffix)": 2,
    }
    everything = sum(len(names) for _, _, names in os.walk(root))
    assert everything == reading.used + sum(reading.left_out.values())


def test_unlabelled_test_images_are_left_out_and_said(tmp_path):
    root = tree(tmp_path / "t", ["train/cat", "train/dog"])
    for i in range(4):
        save(root / "test" / f"{i}.png")
    sheet = load_dataset(f"imagefolder:{root}").sheet
    assert sheet.left_out == {"test image without a label": 4}
    assert sum(sheet.counts["test"]) == 3


def test_labels_are_read_from_a_table(tmp_path):
    rows = ["id,breed"]
    for i in range(10):
        save(tmp_path / "t" / "train" / f"dog{i}.jpg", picture(i))
        rows.append(f"dog{i},{'husky' if i % 2 else 'pug'}")
    save(tmp_path / "t" / "train" / "stray.jpg")
    save(tmp_path / "t" / "test" / "1.jpg")
    (tmp_path / "t" / "labels.csv").write_text("\n".join(rows))
    (tmp_path / "t" / "sample_submission.csv").write_text("id,breed\n1,pug\n")
    arrays = read_imagefolder(tmp_path / "t")
    assert arrays.classes == ("husky", "pug")
    for name, label in zip(arrays.reading.files, arrays.train.labels, strict=True):
        assert int(name[-5]) % 2 == (arrays.classes[label] == "husky")
    assert arrays.reading.left_out["not in the table of labels"] == 1


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv"])
def test_a_table_is_read_however_it_was_saved(delimiter, encoding, name, tmp_path):
    rows = [delimiter.join(("image", "label"))]
    for i in range(10):
        save(tmp_path / "t" / f"{i}.jpg", picture(i))
        rows.append(delimiter.join((f"{i}.jpg", "größer" if i % 2 else "klein")))
    (tmp_path / "t" / name).write_bytes("\r\n".join(rows).encode(encoding))
    arrays = read_imagefolder(tmp_path / "t")
    assert arrays.classes == ("größer", "klein")
    assert len(arrays.train) == 10
    guessed = "it is not UTF-8, and is read as cp1252, such as größer"
    assert (guessed in arrays.notes[0]) == (encoding == "cp1252")


def numbered(root, parts):
    """Images that are numbered from 0 in each part, and a table of labels for each."""
    for part, (count, dark) in parts.items():
        rows = ["file,label"]
        for i in range(count):
            save(root / part / f"{i:04}.png", picture(i))
            rows.append(f"{i:04}.png,{'dark' if i % 2 == dark else 'light'}")
        (root / f"{part}.csv").write_text("\n".join(rows))
    return root


@pytest.mark.parametrize("names", ["{}.csv", "{}_labels.csv", "labels-{}.csv", "{}Labels.csv"])
def test_the_table_of_one_part_says_nothing_of_another(names, tmp_path):
    root = numbered(tmp_path / "t", {"train": (10, 0), "val": (8, 1), "test": (6, 1)})
    for part in ("train", "val", "test"):
        (root / f"{part}.csv").rename(root / names.format(part))
    arrays = read_imagefolder(root)
    assert arrays.classes == ("dark", "light")
    labels = [*arrays.train.labels, *arrays.validation.labels, *arrays.test.labels]
    for name, label in zip(arrays.reading.files, labels, strict=True):
        part, _, file = name.partition("/")
        dark = int(file[:4]) % 2 == (part != "train")
        assert arrays.classes[label] == ("dark" if dark else "light")
    assert len(labels) == 24


def test_a_table_of_the_test_images_is_none_of_those_beside_it(tmp_path):
    for i in range(10):
        save(tmp_path / "t" / "images" / f"{i}.png")
    for name, numbers in (("test", range(6, 10)), ("train", range(6))):
        rows = [f"{i},{'ab'[i % 2]}" for i in numbers]
        (tmp_path / "t" / f"{name}.csv").write_text("\n".join(["id,class", *rows]))
    arrays = read_imagefolder(tmp_path / "t")
    assert [len(arrays.train), len(arrays.test)] == [6, 4]
    assert arrays.classes == ("a", "b")
    assert arrays.reading.left_out == {"a table": 2}
    (tmp_path / "t" / "test.csv").write_text("id,class\n5,a\n6,b\n")
    with pytest.raises(InputError, match=r"test.csv .* both name 1 images, such as images/5.png"):
        read_imagefolder(tmp_path / "t")
    (tmp_path / "t" / "test.csv").write_text("id,width\n6,0\n7,1\n8,0\n")
    arrays = read_imagefolder(tmp_path / "t")
    assert [len(arrays.train), len(arrays.test)] == [6, 0]
    assert arrays.reading.left_out == {"not in the table of labels": 4, "a table": 2}


def test_tables_of_parts_divide_folders_of_classes_whatever_else_they_say(tmp_path):
    files = sorted(tree(tmp_path / "t", ["cat", "dog"]).rglob("*.png"))
    for column in ("width", "class"):
        for name, part in (("test", files[::3]), ("train", [*files[1::3], *files[2::3]])):
            rows = [f"{one.name},{one.parent.name if column == 'class' else 10}" for one in part]
            (tmp_path / "t" / f"{name}.csv").write_text("\n".join([f"file,{column}", *rows]))
        arrays = read_imagefolder(tmp_path / "t")
        assert arrays.classes == ("cat", "dog")
        assert (len(arrays.train), len(arrays.test)) == (8, 4)


def test_an_image_with_two_labels_is_refused_and_one_with_equal_rows_is_not(tmp_path):
    rows = ["image,class"]
    for i in range(8):
        save(tmp_path / "t" / f"{i}.png", picture(i))
        rows += [f"{i}.png,{'cat' if i % 2 else 'dog'}"] * 2
    (tmp_path / "t" / "boxes.csv").write_text("\n".join(rows))
    assert len(read_imagefolder(tmp_path / "t").train) == 8
    (tmp_path / "t" / "boxes.csv").write_text("\n".join([*rows, "3.png,dog"]))
    with pytest.raises(InputError, match=r"several labels for 1 of 8 files, .* 3.png: cat, dog"):
        read_imagefolder(tmp_path / "t")
    labels = [row for row in rows if row.startswith("image")] + rows[1::2]
    (tmp_path / "t" / "z_one_label_each.csv").write_text("\n".join(labels))
    assert len(read_imagefolder(tmp_path / "t").train) == 8


def test_a_table_that_contradicts_the_folders_is_not_passed_over(tmp_path):
    root = tree(tmp_path / "t", ["cat", "dog", "emu"])
    files = sorted(root.rglob("*.png"))
    for column, label, is_fine in (
        ("class", lambda i, path: f"the {path.parent.name}", True),  # other words for the same
        ("caption", lambda i, path: f"picture {i}", True),
        ("label", lambda i, path: "animal", True),
        ("label", lambda i, path: "bird" if path.parent.name == "emu" else "mammal", False),
        ("label", lambda i, path: "ab"[i % 2], False),
    ):
        rows = [f"{path.name},{label(i, path)}" for i, path in enumerate(files)]
        (root / "metadata.csv").write_text("\n".join([f"file_name,{column}", *rows]))
        if is_fine:
            assert read_imagefolder(root).classes == ("cat", "dog", "emu")
            continue
        with pytest.raises(InputError, match=r"3 folders or the labels of metadata.csv\?"):
            read_imagefolder(root)


def rows_in(path, header, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]))


def labelled(root, count=8, names="{:03}.png", **table):
    """Images of two classes in one folder, and the rows of a table about them."""
    for i in range(count):
        save(root / names.format(i), picture(i))
    return [
        f"{table.get('cell', names).format(i)},{'dog' if i % 2 else 'cat'}" for i in range(count)
    ]


@pytest.mark.parametrize(
    ("folders", "train", "test"),
    [
        (["training_set/training_set/cats", "training_set/training_set/dogs",
          "test_set/test_set/cats", "test_set/test_set/dogs"], 12, 12),
        (["seg_train/seg_train/sea", "seg_train/seg_train/street", "seg_test/seg_test/sea",
          "seg_test/seg_test/street", "seg_pred/seg_pred"], 12, 12),
        (["train_images/a", "train_images/b", "test_images/a", "test_images/b"], 12, 12),
    ],
)  # fmt: skip
def test_names_of_folders_that_contain_those_of_parts_are_parts(folders, train, test, tmp_path):
    arrays = read_imagefolder(tree(tmp_path / "t", folders))
    assert [len(arrays.train), len(arrays.test)] == [train, test]
    assert any("has the train images" in note for note in arrays.notes)
    assert len(arrays.classes) == 2


def test_competitions_keep_their_unlabelled_test_images_apart(tmp_path):
    for i in range(6):
        save(tmp_path / "dogs" / "train" / f"cat.{i}.jpg")
        save(tmp_path / "dogs" / "train" / f"dog.{i}.jpg", picture(1))
        save(tmp_path / "dogs" / "test1" / f"{i}.jpg")
        save(tmp_path / "eyes" / "test_images" / f"{i + 6:03}.png")
    rows_in(
        tmp_path / "eyes" / "train.csv",
        "id_code,diagnosis",
        *labelled(tmp_path / "eyes" / "train_images", 6, cell="{:03}"),
    )
    for name, count in (("dogs", 12), ("eyes", 6)):
        arrays = read_imagefolder(tmp_path / name)
        assert (len(arrays.classes), len(arrays.train), len(arrays.test)) == (2, count, 0)
        assert arrays.reading.left_out["test image without a label"] == 6


def test_a_table_with_a_column_of_labels_comes_before_any_other(tmp_path):
    rows = labelled(tmp_path / "t")
    rows_in(tmp_path / "t" / "labels.csv", "file,label", *rows)
    rows_in(tmp_path / "t" / "ages.csv", "id,age", *[f"{i:03},{20 + i % 4}" for i in range(8)])
    rows_in(tmp_path / "t" / "groups.csv", "file,group", *[f"{i:03}.png,p{i}" for i in range(8)])
    arrays = read_imagefolder(tmp_path / "t")
    assert arrays.classes == ("cat", "dog")
    assert arrays.reading.left_out == {"a table": 3}
    (tmp_path / "t" / "labels.csv").unlink()
    assert read_imagefolder(tmp_path / "t").classes == ("20", "21", "22", "23")  # the only guess
    rows_in(tmp_path / "t" / "sizes.csv", "id,size", *[f"{i:03},{i % 2}" for i in range(8)])
    with pytest.raises(InputError, match=r"which column .* age of ages.csv or size of sizes.csv"):
        read_imagefolder(tmp_path / "t")


@pytest.mark.parametrize("name", ["labels.csv", "trainlabels.csv"])
def test_test_images_do_not_get_the_labels_of_training_images_of_their_names(name, tmp_path):
    rows_in(tmp_path / "t" / name, "id,label", *labelled(tmp_path / "t" / "train", cell="{:03}"))
    for i in range(5):
        save(tmp_path / "t" / "test" / f"{i:03}.png")
    arrays = read_imagefolder(tmp_path / "t")
    assert [len(arrays.train), len(arrays.test)] == [8, 0]
    assert arrays.reading.left_out["test image without a label"] == 5


@pytest.mark.parametrize(
    "cell",
    [
        "./{:03}.png",
        "/kaggle/input/x/images/{:03}.png",
        "images\\{:03}.png",
        " {:03}.png",
        "{:03}",
        "photos/{:03}.png",
    ],
)
def test_paths_in_a_table_are_those_of_any_machine(cell, tmp_path):
    rows = labelled(tmp_path / "t" / "photos", cell=cell)
    rows_in(
        tmp_path / "t" / "labels.csv",
        "id,file,label",
        *[f"{(i + 1) % 8},{row}" for i, row in enumerate(rows)],
    )
    for root in (tmp_path / "t", tmp_path):  # a folder around it changes nothing
        arrays = read_imagefolder(root)
        for name, label in zip(arrays.reading.files, arrays.train.labels, strict=True):
            assert int(name[-7:-4]) % 2 == (arrays.classes[label] == "dog")


def test_numbers_of_rows_do_not_stand_in_for_paths_that_are_not_here(tmp_path):
    labelled(tmp_path / "t", names="{}.png")
    rows = [f"{i},images\\{i + 57}.jpg,{'ab'[i % 2]}" for i in range(8)]
    rows_in(tmp_path / "t" / "labels.csv", "id,path,label", *rows)
    with pytest.raises(
        InputError, match=r"column path names files that are not here, such as imag"
    ):
        read_imagefolder(tmp_path / "t")


def test_numbered_folders_are_classes_only_if_no_table_says_otherwise(tmp_path):
    rows = []
    for i in range(8):
        save(tmp_path / "t" / f"images_part_{i % 2}" / f"{i:03}.png", picture(i))
        rows.append(f"L{i},{i:03},{'nv' if i % 3 else 'mel'},histo,{40 + i}")
    rows_in(tmp_path / "t" / "meta.csv", "lesion,image_id,dx,how,age", *rows)
    assert read_imagefolder(tmp_path / "t").classes == ("mel", "nv")
    rows_in(tmp_path / "t" / "meta.csv", "lesion,image_id,finding,how,age", *rows)
    message = r"are images_part_0, images_part_1 classes\? meta.csv names the images, but"
    with pytest.raises(InputError, match=message):
        read_imagefolder(tmp_path / "t")


def test_masks_beside_the_images_of_each_class_are_left_out(tmp_path):
    for kind in ("COVID", "Normal"):
        for place in ("images", "masks"):
            tree(tmp_path / "t" / kind, [place], count=4)
    arrays = read_imagefolder(tmp_path / "t")
    assert arrays.classes == ("COVID", "Normal")
    assert len(arrays.train) == 8
    assert arrays.reading.left_out == {"in a folder of masks": 8}
    assert not any("masks" in name for name in arrays.reading.files)


def test_images_and_their_labels_may_lie_in_one_folder_around_them(tmp_path):
    rows_in(
        tmp_path / "a" / "photos" / "labels.csv",
        "file,label",
        *labelled(tmp_path / "a" / "photos"),
    )
    for i in range(4):
        save(tmp_path / "b" / "photos" / f"cat.{i}.jpg")
        save(tmp_path / "b" / "photos" / f"dog.{i}.jpg", picture(1))
    for name in "ab":
        assert read_imagefolder(tmp_path / name).classes == ("cat", "dog")


def test_a_path_in_a_table_stands_for_its_own_file_only(tmp_path):
    rows = []
    for part, shift in (("train", 0), ("test", 1)):
        for i in range(8):
            save(tmp_path / "t" / part / f"{i:03}.png", picture(i))
            if part == "test" or i > 1:
                rows.append(f"{part}/{i:03}.png,{'dog' if (i + shift) % 2 else 'cat'}")
    rows_in(tmp_path / "t" / "labels.csv", "file,label", *rows)
    arrays = read_imagefolder(tmp_path / "t")
    assert [len(arrays.train), len(arrays.test)] == [6, 8]
    assert arrays.reading.left_out["not in the table of labels"] == 2
    labels = [*arrays.train.labels, *arrays.test.labels]
    for name, label in zip(arrays.reading.files, labels, strict=True):
        is_dog = (int(name[-7:-4]) + name.startswith("test")) % 2
        assert arrays.classes[label] == ("dog" if is_dog else "cat")


def test_a_test_table_may_spell_its_columns_otherwise(tmp_path):
    headers = {"train": "file,label", "val": "File, Label", "test": "filename,class"}
    for part, header in headers.items():
        rows_in(tmp_path / "t" / part / "labels.csv", header, *labelled(tmp_path / "t" / part))
    arrays = read_imagefolder(tmp_path / "t")
    assert [len(part) for part in arrays.parts.values()] == [8, 8, 8]
    rows_in(
        tmp_path / "t" / "val" / "labels.csv", "file,colour", *labelled(tmp_path / "t" / "val")
    )
    with pytest.raises(InputError, match=r"no validation image of cat, dog .not used: val/labels"):
        read_imagefolder(tmp_path / "t")


@pytest.mark.parametrize("names", [["n01440764", "n02102040"], ["person01", "person02"]])
def test_names_with_numbers_are_classes_whatever_table_lies_beside_them(names, tmp_path):
    files = sorted(tree(tmp_path / "t", names).rglob("*.png"))
    rows_in(
        tmp_path / "t" / "noisy.csv",
        "path,noisy_1,noisy_5,is_valid",
        *[f"{file.relative_to(tmp_path / 't')},x,y,False" for file in files],
    )
    assert read_imagefolder(tmp_path / "t").classes == tuple(names)


def test_only_the_beginning_of_a_table_of_pixels_is_read(tmp_path, monkeypatch):
    tree(tmp_path / "t", ["cat", "dog"])
    rows_in(
        tmp_path / "t" / "pixels.csv",
        ",".join(["label", *[f"p{i}" for i in range(300)]]),
        *[",".join(["1"] * 301)] * 3000,
    )
    sizes = []

    def counted(content):
        sizes.append(len(content))
        return rows_of(content)

    monkeypatch.setattr(tables, "rows_of", counted)
    assert read_imagefolder(tmp_path / "t").classes == ("cat", "dog")
    assert max(sizes) <= 1 << 16 < (tmp_path / "t" / "pixels.csv").stat().st_size


def test_words_of_parts_in_names_of_classes_make_no_parts(tmp_path):
    arrays = read_imagefolder(tree(tmp_path / "a", ["train_station", "test_tube", "dog"]))
    assert arrays.classes == ("dog", "test_tube", "train_station")
    folders = ["train/cat", "train/dog", "test/cat", "test/dog", "val_debug/cat"]
    arrays = read_imagefolder(tree(tmp_path / "b", folders))
    assert arrays.validation is None
    assert "val_debug/ has other classes than train, so it is not used" in arrays.notes
    assert arrays.reading.left_out == {"outside the class folders": 6}


def test_a_table_that_is_not_used_is_named_with_the_reason(tmp_path):
    labelled(tmp_path / "t")
    for header, row, message in (
        ("id,label", "1,cat", "labels.csv names 0 of 8 images .its first row: 1."),
        ("photo,label", "1,cat", "labels.csv has no column with names of files, such as file or"),
        ("file,cat,dog", "000.png,1,1", "labels.csv has no column called label or class"),
    ):
        rows = [row.replace("000", f"{i:03}") for i in range(8)]
        rows_in(tmp_path / "t" / "labels.csv", header, *rows)
        with pytest.raises(InputError, match=message):
            read_imagefolder(tmp_path / "t")


def test_files_about_a_data_set_are_no_images_and_hide_no_classes(tmp_path):
    tree(tmp_path / "t" / "data" / "v1", ["cat", "dog"])
    (tmp_path / "t" / "LICENSE").write_text("text")
    (tmp_path / "t" / "data" / "README").write_text("text")
    arrays = read_imagefolder(tmp_path / "t")
    assert arrays.classes == ("cat", "dog")
    assert arrays.reading.left_out == {"outside the class folders": 2}


def test_an_archive_with_backslashes_is_read(tmp_path):
    folder = tree(tmp_path / "t")
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            name = str(file.relative_to(folder)).replace("/", "\\")
            archive.writestr(name, file.read_bytes())
    inside = read_imagefolder(tmp_path / "t.zip")
    assert inside.fingerprint() == read_imagefolder(folder).fingerprint()


def test_labels_are_read_from_names_such_as_cat_0_jpg(tmp_path):
    for i in range(6):
        save(tmp_path / "t" / "train" / f"cat.{i}.jpg")
        save(tmp_path / "t" / "train" / f"dog.{i}.jpg", picture(1))
    arrays = read_imagefolder(tmp_path / "t")
    assert arrays.classes == ("cat", "dog")
    assert arrays.train.labels.tolist() == [0] * 6 + [1] * 6


def test_classes_with_numbers_are_in_the_order_of_the_numbers(tmp_path):
    root = tree(tmp_path / "t", [f"{n}" for n in (1, 2, 10, 9)], count=4)
    assert read_imagefolder(root).classes == ("1", "2", "9", "10")


def test_case_and_form_of_accents_do_not_divide_a_class(tmp_path):
    nfc, nfd = "caf\u00e9", "cafe\u0301"
    root = tree(tmp_path / "t", [f"train/{nfc}", "train/Dog", f"test/{nfd}", "test/dog"])
    arrays = read_imagefolder(root)
    assert arrays.classes == ("Dog", nfc)
    assert sorted(arrays.test.labels.tolist()) == [0] * 6 + [1] * 6


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar", "photos.tgz"])
def test_an_archive_is_read_like_the_folder_in_it(name, tmp_path):
    folder = tree(tmp_path / "t")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._x.png").write_bytes(b"x")
    path = tmp_path / name
    if name.endswith("zip"):
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*.*")):
                archive.write(file, f"t/{file.relative_to(folder)}")
    else:
        with tarfile.open(path, "w:gz" if name.endswith("tgz") else "w") as archive:
            archive.add(folder, "t")
    inside, beside = read_imagefolder(path), read_imagefolder(folder)
    assert inside.fingerprint() == beside.fingerprint()
    assert inside.reading.left_out == {"system file": 1}


def test_links_in_a_tar_are_read_like_those_of_a_folder(tmp_path):
    root = tree(tmp_path / "t")
    first = root / "train" / "cat" / "train_cat_0.png"
    (root / "train" / "cat" / "0 soft.png").symlink_to("train_cat_1.png")
    (root / "test" / "cat" / "up.png").symlink_to("../../train/cat/train_cat_2.png")
    (root / "train" / "cat" / "hard.png").hardlink_to(first)
    for suffix in ("tar", "tar.gz"):
        with tarfile.open(tmp_path / f"t.{suffix}", f"w:{suffix[4:]}") as archive:
            archive.add(root, "t")
        inside, beside = read_imagefolder(tmp_path / f"t.{suffix}"), read_imagefolder(root)
        assert inside.fingerprint() == beside.fingerprint()
        assert inside.reading.used == beside.reading.used == 27


def test_what_a_tar_has_that_is_no_file_is_named(tmp_path):
    root = tree(tmp_path / "t")
    (root / "train" / "cat" / "gone.png").symlink_to("/nowhere/else.png")
    (root / "train" / "dog" / "folder.png").symlink_to("../cat")
    os.mkfifo(root / "train" / "dog" / "pipe.png")
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        archive.add(root, "t")
    with pytest.raises(InputError) as error:
        read_imagefolder(tmp_path / "t.tar")
    for line in (
        "3 files of 24 cannot be used",
        "gone.png: a link to nothing in the archive",
        "folder.png: a link to a folder",
        "pipe.png: not a regular file",
    ):
        assert line in str(error.value)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [(6, 1, "cat/test_cat_0.png is encrypted; unpack"), (8, 9, "method .number 9. that Python")],
)
def test_a_zip_that_python_cannot_unpack_is_refused_by_its_cause(offset, value, message, tmp_path):
    folder = tree(tmp_path / "t")
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png"), reverse=True):
            archive.write(file, file.relative_to(folder))
    content = bytearray(path.read_bytes())
    for start, shift in ((content.rindex(b"PK\x03\x04"), 0), (content.rindex(b"PK\x01\x02"), 2)):
        content[start + offset + shift] = value
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_imagefolder(path)


def test_a_damaged_member_of_an_archive_is_not_called_empty(tmp_path):
    folder = tree(tmp_path / "t")
    shutil.make_archive(str(tmp_path / "a"), "zip", folder)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[content.index(b"IDAT") + 30] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"1 file of 24 cannot be used:\n.*: it is damaged: "):
        read_imagefolder(tmp_path / "a.zip")


def test_a_damaged_image_in_an_archive_is_named(tmp_path):
    folder = tree(tmp_path / "t")
    (folder / "train" / "cat" / "bad.png").write_bytes(b"\x89PNG no")
    shutil.make_archive(str(tmp_path / "a"), "zip", folder)
    with pytest.raises(InputError, match="train/cat/bad.png: not an image that can be read"):
        read_imagefolder(tmp_path / "a.zip")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: shutil.rmtree(r / "train" / "dog"), "has 1 class folder, and at least 2"),
        (lambda r: (r / "test" / "emu").mkdir(), "train lacks: emu"),
        (lambda r: rename(r, "train", "testing"), "two folders of test images, test and testing"),
        (lambda r: rename(r, "train", "old"), "has test but no train folder"),
        (lambda r: (r / "train" / "Cat").mkdir(), "cat and Cat|Cat and cat"),
        (lambda r: (r / "train" / "emu").mkdir(), "no (train|test) image of emu"),
    ],
)
def test_a_tree_that_is_not_clear_is_refused_with_what_is_there(spoil, message, tmp_path):
    root = tree(tmp_path / "t")
    spoil(root)
    with pytest.raises(InputError, match=message):
        read_imagefolder(root)
    assert not (tmp_path / "t.tunecnn-cache").exists()


@pytest.mark.parametrize("is_empty", [False, True])
def test_a_rare_class_may_have_no_test_images(is_empty, tmp_path):
    root = tree(tmp_path / "t")
    shutil.rmtree(root / "test" / "cat")
    if is_empty:
        (root / "test" / "cat").mkdir()
    arrays = read_imagefolder(root)
    assert arrays.classes == ("cat", "dog")
    assert arrays.test.labels.tolist() == [1] * 6


def test_a_message_shows_what_lies_there(tmp_path):
    for i in range(3):
        save(tmp_path / "t" / "pictures" / f"IMG_{i}.png")
    with pytest.raises(InputError) as caught:
        read_imagefolder(tmp_path / "t")
    assert "pictures/   3 files: IMG_0.png, IMG_1.png, ..." in str(caught.value)
    assert "labels.csv" in str(caught.value)


def test_a_class_folder_that_is_not_utf_8_is_named(tmp_path):
    root = tree(tmp_path / "t")
    rename(root / "train", "dog", os.fsdecode(b"ch\xe9ne"))
    with pytest.raises(InputError, match=r"ch\\xe9ne .* is not UTF-8"):
        read_imagefolder(root)


def test_a_file_name_that_is_not_utf_8_is_used(tmp_path):
    root = tree(tmp_path / "t")
    save(root / "train" / "cat" / os.fsdecode(b"caf\xe9.png"))
    assert read_imagefolder(root).reading.used == 25


def test_links_are_followed_and_broken_or_circular_ones_are_named(tmp_path):
    root = tree(tmp_path / "t")
    save(tmp_path / "pool" / "1.png")
    (root / "train" / "cat" / "linked.png").symlink_to(tmp_path / "pool" / "1.png")
    assert read_imagefolder(root).reading.used == 25
    (root / "train" / "cat" / "gone.png").symlink_to("/nowhere/1.png")
    (root / "train" / "cat" / "again").symlink_to(root / "train")
    (root / "train" / "cat" / "up").symlink_to(root)
    os.mkfifo(root / "train" / "dog" / "pipe.png")
    with pytest.raises(InputError) as caught:
        read_imagefolder(root)
    text = str(caught.value)
    assert "4 files of 25 cannot be used" in text
    assert "train/cat/gone.png: a broken link" in text
    assert "train/cat/again: a link to a folder that contains it" in text
    assert "train/cat/up: a link to a folder that contains it" in text
    assert "train/dog/pipe.png: not a regular file" in text


class OldZipInfo(zipfile.ZipInfo):
    """A member whose name is not marked as UTF-8, as older archivers wrote all of them."""

    def _encodeFilenameFlags(self):  # noqa: N802
        return self.filename.encode("cp437"), 0


@pytest.mark.parametrize("locked", ["cat", "train/cat", "cat/inner"])
def test_a_folder_that_may_not_be_read_is_not_called_empty(locked, tmp_path, monkeypatch):
    around = "train/" if "/" in locked and "inner" not in locked else ""
    root = tree(tmp_path / "t", [f"{around}cat/inner", f"{around}dog"])
    (root / ".private").mkdir()
    real = os.scandir

    def scandir(path):
        if path == root / locked:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        with pytest.raises(InputError, match=f"the folder .*/t/{locked} cannot be read: Permis"):
            read_imagefolder(root)
        locked = ".private"
        assert read_imagefolder(root).reading.left_out == {"hidden": 1}


def test_names_in_an_unknown_encoding_are_said_to_be_guessed(tmp_path):
    content = io.BytesIO()
    picture().save(content, "PNG")
    for encoding, said in (("gbk", True), ("utf-8", False)):
        path = tmp_path / f"{encoding}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for i in range(12):
                name = f"{'猫狗'[i % 2]}/{i}.png".encode(encoding)
                archive.writestr(OldZipInfo(name.decode("cp437")), content.getvalue())
        notes = read_imagefolder(path).notes
        assert any("does not say the encoding of its names" in one for one in notes) == said


@pytest.mark.parametrize("path", ["nowhere", "file.txt"])
def test_what_is_neither_folder_nor_archive_is_named(path, tmp_path):
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(InputError, match=f"{path} is not a folder"):
        read_imagefolder(tmp_path / path)


def test_folders_of_images_and_of_their_masks_are_no_two_classes(tmp_path):
    root = tree(tmp_path / "t", ["images", "masks"], count=12)
    for folder in ("images", "masks"):
        for i in range(12):
            rename(root, f"{folder}/{folder}_{i}.png", f"{folder}/{i}.png")
    with pytest.raises(InputError, match="has 1 class folder, and at least 2 are needed"):
        read_imagefolder(root)
    rows = "".join(f"{i}.png,{('cat', 'dog')[i % 2]}\n" for i in range(12))
    (root / "labels.csv").write_text("id,label\n" + rows)
    arrays = read_imagefolder(root)
    assert arrays.classes == ("cat", "dog")
    assert len(arrays.train) == 12
    assert all(name.startswith("images/") for name in arrays.reading.files)
    assert arrays.reading.left_out["in a folder of masks"] == 12
    assert "the labels of 12 images are from labels.csv, column label" in arrays.notes


def test_masks_with_the_names_of_their_images_are_no_images(tmp_path):
    root = tree(tmp_path / "t", ["benign", "malignant"], count=6)
    for name in ("benign", "malignant"):
        for i in range(6):
            save(root / name / f"{name}_{i}_mask.png")
        save(root / name / f"{name}_0_mask_1.png")
    save(root / "benign" / "dust_mask.png")  # of no image
    arrays = read_imagefolder(root)
    assert len(arrays.train) == 13
    assert arrays.reading.left_out == {"a mask beside its image": 14}


def test_the_same_words_in_all_classes_may_be_the_classes(tmp_path):
    folders = [f"{colour}/{kind}" for colour in ("color", "grey") for kind in ("apple", "corn")]
    root = tree(tmp_path / "t", folders)
    with pytest.raises(
        InputError, match="the 2 folders color, grey, or the 2 in them, apple, corn"
    ):
        read_imagefolder(root)
    assert read_imagefolder(root, ImageOptions(groups="folder")).classes == ("color", "grey")
    years = tree(tmp_path / "y", [f"{one}/{year}" for one in ("cat", "dog") for year in "ab"])
    for one in ("cat", "dog"):
        for old, new in (("a", "2019"), ("b", "2020")):
            rename(years, f"{one}/{old}", f"{one}/{new}")
    assert read_imagefolder(years).classes == ("cat", "dog")


def test_names_are_found_in_another_case_and_form_of_accents(tmp_path):
    for i in range(4):
        save(tmp_path / "t" / unicodedata.normalize("NFD", f"K\u00e4fer_{i}.PNG"))
        save(tmp_path / "t" / f"maus_{i}.png")
    rows = "".join(f"K\u00e4fer_{i}.png,K\u00e4fer\nMaus_{i}.PNG,Maus\n" for i in range(4))
    (tmp_path / "t" / "labels.csv").write_text("file,label\n" + rows)
    arrays = read_imagefolder(tmp_path / "t")
    assert arrays.classes == ("K\u00e4fer", "Maus")
    assert len(arrays.train) == 8


def test_rows_of_no_file_are_counted(tmp_path):
    for i in range(6):
        save(tmp_path / "t" / f"{i}.png")
    rows = "".join(f"{i}.png,{i % 2}\n" for i in range(9))
    (tmp_path / "t" / "labels.csv").write_text("file,label\n" + rows)
    (note,) = read_imagefolder(tmp_path / "t").notes
    assert note.endswith(
        "labels.csv, column label; 3 of its rows name no file that is here, or several"
    )


def test_a_zip_that_does_not_say_that_its_names_are_utf_8_is_read(tmp_path):
    root = tree(tmp_path / "t", ["k__fer", "maus"])
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        for file in sorted(root.rglob("*.png")):
            archive.write(file, file.relative_to(root))
    content = (tmp_path / "t.zip").read_bytes().replace(b"k__fer", "k\u00e4fer".encode())
    (tmp_path / "t.zip").write_bytes(content)
    assert read_imagefolder(tmp_path / "t.zip").classes == ("k\u00e4fer", "maus")


@pytest.mark.parametrize("column", ["split", "data set"])
def test_a_column_of_a_table_divides_the_images(column, tmp_path):
    for i in range(20):
        save(tmp_path / "t" / f"{i}.png", picture(i))
    parts = ["train"] * 12 + ["valid"] * 4 + ["Test"] * 4
    rows = "".join(f"{i}.png,{i % 2},{part}\n" for i, part in enumerate(parts))
    (tmp_path / "t" / "table.csv").write_text(f"filename,what,{column}\n" + rows)
    arrays = read_imagefolder(tmp_path / "t")
    assert arrays.validation is not None
    assert (len(arrays.train), len(arrays.validation), len(arrays.test)) == (12, 4, 4)
    assert set(arrays.reading.files[-4:]) == {f"{i}.png" for i in range(16, 20)}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            "file,label\n0.png,cat\n1.png,dog\n2.png,cat|dog\n3.png,dog\n",
            "several labels for 1 of 4 files, such as 2.png: cat, dog; an image has one class",
        ),
        (
            "0.png,cat\n1.png,dog\n2.png,cat\n3.png,dog\n",
            "no line with the names of its columns: its first line names the image 0.png; add one",
        ),
        (
            "file,label\n0.png,Cat\n1.png,cat\n2.png,dog\n3.png,dog\n",
            "labels.csv has the labels (Cat and cat|cat and Cat), which differ only in case",
        ),
    ],
)
def test_a_table_whose_labels_are_not_clear_is_refused(table, message, tmp_path):
    for i in range(4):
        save(tmp_path / "t" / f"{i}.png")
    (tmp_path / "t" / "labels.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        read_imagefolder(tmp_path / "t")


def test_commas_in_the_name_of_a_class_and_places_in_an_image_are_no_labels(tmp_path):
    for i in range(6):
        save(tmp_path / "t" / f"{i}.png")
    names = ['"tench, Tinca tinca"', '"goldfish, Carassius"', "NaN"]
    rows = "".join(f"{i}.png,3,{i},{names[i % 3]}\n" for i in range(6))
    (tmp_path / "t" / "labels.csv").write_text("file,x,y,class\n" + rows)
    arrays = read_imagefolder(tmp_path / "t")
    assert arrays.classes == ("goldfish, Carassius", "tench, Tinca tinca")
    assert len(arrays.train) == 4


@pytest.mark.parametrize("name", ["test/test", "test/unknown", "evaluation/all"])
def test_test_images_in_a_folder_that_is_no_class_have_no_labels(name, tmp_path):
    root = tree(tmp_path / "t", ["train/cat", "train/dog", name])
    arrays = read_imagefolder(root)
    assert arrays.classes == ("cat", "dog")
    assert arrays.reading.left_out == {"test image without a label": 6}
    assert "the test images have no labels, so they are not used" in arrays.notes


def test_files_about_each_image_are_not_counted_as_images(tmp_path):
    for i in range(6):
        save(tmp_path / "t" / f"{i}.jpg")
        (tmp_path / "t" / f"{i}.xml").write_text("<a/>")
        (tmp_path / "t" / f"{i}.txt").write_text("0 0.5")
    rows = "".join(f"{i},{i % 2}\n" for i in range(6))
    (tmp_path / "t" / "labels.csv").write_text("id,label\n" + rows)
    arrays = read_imagefolder(tmp_path / "t")
    assert len(arrays.train) == 6
    assert arrays.reading.left_out == {"a table": 1, "outside the class folders": 12}
    root = tree(tmp_path / "u", ["images/cat", "images/dog"])
    (root / "labels").mkdir()
    (root / "labels" / "0.txt").write_text("0 0.5")
    assert len(read_imagefolder(root).train) == 12


@pytest.mark.parametrize(
    "folders", [["mask", "no_mask", "test_tube"], ["photo", "annotation", "logo"]]
)
def test_a_class_may_have_the_name_of_masks(folders, tmp_path):
    arrays = read_imagefolder(tree(tmp_path / "t", folders))
    assert set(arrays.classes) == set(folders)


def test_masks_are_found_by_the_names_of_their_images_beside_other_folders(tmp_path):
    root = tree(tmp_path / "t", ["cat", "dog"])
    for i in range(4):
        save(root / "photos" / f"p{i}.png")
        save(root / "masks" / f"p{i}_mask.png")
    assert read_imagefolder(root).classes == ("cat", "dog", "photos")


@pytest.mark.parametrize("doubled", ["rps/rps", "rps-test-set/rps-test-set"])
def test_archives_unpacked_into_folders_of_their_own_names_are_no_classes(doubled, tmp_path):
    other = {"rps/rps": "rps-test-set", "rps-test-set/rps-test-set": "rps"}[doubled]
    both = [doubled, f"{other}/{other}"]
    root = tree(tmp_path / "t", [f"{one}/{name}" for one in both for name in ("paper", "rock")])
    with pytest.raises(InputError, match="are the classes the 2 folders rps, rps-test-set, or th"):
        read_imagefolder(root)


def test_records_of_tensorflow_beside_the_images_are_no_second_part(tmp_path):
    root = tree(
        tmp_path / "t",
        ["train_images/cat", "train_images/dog", "test_images/cat", "test_images/dog"],
    )
    for part in ("train", "test"):
        (root / f"{part}_tfrecords").mkdir()
        (root / f"{part}_tfrecords" / "1.tfrec").write_bytes(b"records")
    arrays = read_imagefolder(root)
    assert (len(arrays.train), len(arrays.test)) == (12, 12)


class ManyFiles:
    """A tree of many files, of which none is on a disk."""

    root = Path("/many")

    def list(self):
        names = [f"{one}/{i}.png" for one in ("cat", "dog") for i in range(25_000)]
        return Listing([TreeFile(name) for name in names], {"cat", "dog"})

    def contents(self, names):
        return iter(())


def test_the_layout_of_many_files_takes_no_time_for_each_pair_of_them():
    started = time.process_time()
    assert find_layout(ManyFiles()).classes == ("cat", "dog")
    assert time.process_time() - started < 5.0
