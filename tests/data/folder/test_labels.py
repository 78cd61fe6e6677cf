"""Which column of a table names the files, which has their labels, and which divides them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.trees import PARTS, numbered, picture, save, table, tree
from tunecnn.data.folder.reader import read_imagefolder
from tunecnn.data.options import ImageOptions
from tunecnn.errors import InputError


def labels_by_file(arrays):
    """The class of each file that is used."""
    parts = [arrays.train, arrays.validation, arrays.test]
    labels = np.concatenate([part.labels for part in parts if part is not None])
    return {
        name: arrays.classes[label]
        for name, label in zip(arrays.reading.files, labels, strict=True)
    }


@pytest.mark.parametrize(
    ("column", "words", "stray"),
    [
        ("split", ("", "test"), "nothing"),
        ("split", ("train", ""), "nothing"),
        ("is_test", ("", "1"), "nothing"),
        ("set", ("train", "other"), "other"),
        ("set", ("rest", "test"), "rest"),
        ("phase", ("Training", "Held-out"), "Held-out"),
    ],
)
def test_a_column_with_the_name_of_one_part_only_is_not_passed_over(
    column, words, stray, tmp_path
):
    """The images that it keeps for the test would be trained on."""
    root = numbered(tmp_path / "t", 12)
    rows = [f"{i}.png,{'ab'[i % 2]},{words[i > 8]}" for i in range(12)]
    table(root, f"file,label,{column}", *rows)
    with pytest.raises(InputError, match=f"column {column} divides .* have no part .*: {stray}"):
        read_imagefolder(root)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("file,label,label", "has the column label twice"),
        ("file,label,Label", "columns label and Label have one name in two spellings, and differ"),
    ],
)
def test_two_columns_of_labels_are_refused(header, message, tmp_path):
    root = numbered(tmp_path / "t", 12)
    table(root, header, *(f"{i}.png,{'ab'[i % 2]},{'ab'[i % 3 > 0]}" for i in range(12)))
    with pytest.raises(InputError, match=message):
        read_imagefolder(root)
    table(root, "file,label,note,note", *(f"{i}.png,{'ab'[i % 2]},{i},x" for i in range(12)))
    assert read_imagefolder(root).reading.used == 12


@pytest.mark.parametrize("end", [",,", " , ,", "total 12,,", "total,12,"])
def test_rows_of_no_image_do_not_undo_a_column_that_divides_the_images(end, tmp_path):
    root = numbered(tmp_path / "t", 12)
    rows = [f"{i}.png,{'ab'[i % 2]},{part}" for i, part in enumerate(PARTS)]
    table(root, "file,label,split", *rows, end)
    arrays = read_imagefolder(root)
    assert arrays.validation is not None
    assert [len(arrays.train), len(arrays.validation), len(arrays.test)] == [6, 2, 4]


@pytest.mark.parametrize(
    ("column", "replaced", "message"),
    [
        (
            "split",
            {11: "holdout"},
            "column split divides .* 1 of its rows have no part .* holdout",
        ),
        ("split", {3: "", 11: ""}, "2 of its rows have no part .*: nothing. Write one, or remove"),
        ("how", {11: "unlabelled"}, "column how divides the images, and 1 of its rows have"),
    ],
)
def test_a_column_that_divides_only_some_images_is_refused(column, replaced, message, tmp_path):
    root = numbered(tmp_path / "t", 12)
    parts = [replaced.get(i, part) for i, part in enumerate(PARTS)]
    rows = [f"{i}.png,{i % 2},{part}" for i, part in enumerate(parts)]
    table(root, f"file,label,{column}", *rows)
    with pytest.raises(InputError, match=message):
        read_imagefolder(root)
    for index in replaced:  # a row without a label labels nothing
        rows[index] = f"{index}.png,,{parts[index]}"
    table(root, f"file,label,{column}", *rows)
    assert read_imagefolder(root).reading.used == 12 - len(replaced)
    folders = tree(tmp_path / "f", ["train/0", "train/1", "test/0", "test/1"])
    names = sorted(file.relative_to(folders) for file in folders.rglob("*.png"))
    rows = [f"{name},{name.parts[1]},{parts[i % 12]}" for i, name in enumerate(names)]
    table(folders, f"file,label,{column}", *rows)
    assert len(read_imagefolder(folders).train) == 12  # the folders tell


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("file,label,split", "{}.png,{},{}"),
        ("file,usage", "{}.png,{}"),
        ("file,label,subset", "{}.png,{},x"),
    ],
)
def test_a_column_without_words_of_parts_divides_nothing(header, row, tmp_path):
    root = numbered(tmp_path / "t", 12)
    table(root, header, *(row.format(i, "ab"[i % 2], i % 5) for i in range(12)))
    table(root, "model,split,acc", "net,cv1,0.9", "net,cv2,0.8", name="results.csv")
    arrays = read_imagefolder(root)
    assert arrays.classes == ("a", "b")
    assert len(arrays.train) == 12


def test_a_column_with_a_usual_name_may_have_words_that_contain_those_of_parts(tmp_path):
    root = numbered(tmp_path / "t", 12)
    words = {"train": "Training", "val": "PublicValidation", "test": "PrivateTest"}
    rows = (f"{i}.png,{i % 2},{words[part]}" for i, part in enumerate(PARTS))
    table(root, "file,label,Usage", *rows)
    assert len(read_imagefolder(root).test) == 4


@pytest.mark.parametrize("columns", ["id,file,label", "Id,image-id,label", "id,image_name,target"])
def test_an_id_is_no_file_where_another_column_names_the_files(columns, tmp_path):
    root = numbered(tmp_path / "t", 12)
    table(root, columns, *(f"{11 - i},{i},{'ab'[i // 6]}" for i in range(12)))
    found = labels_by_file(read_imagefolder(root))
    assert found == {f"{i}.png": "ab"[i // 6] for i in range(12)}


def test_values_with_commas_are_quoted_or_refused_with_their_line(tmp_path):
    root = numbered(tmp_path / "t", 8)
    names = ["Tomato, healthy", "Tomato, blight"]
    table(root, "file,label", *(f"{i}.png,{names[i % 2]}" for i in range(8)))
    with pytest.raises(
        InputError, match=r"labels.csv cannot be read: line 2 has more values than"
    ):
        read_imagefolder(root)
    table(root, "file, label", *(f'"{i}.png", "{names[i % 2]}"' for i in range(8)))
    assert read_imagefolder(root).classes == ("Tomato, blight", "Tomato, healthy")
    table(root, "file,label", *(f"{i}.png,{i % 2},," for i in range(8)))  # as spreadsheets write
    assert read_imagefolder(root).classes == ("0", "1")


@pytest.mark.parametrize("above", ["", "/home/me/frames/", "C:\\frames\\"])
@pytest.mark.parametrize("around", ["", "data", "data/inner"])
def test_a_path_into_another_folder_names_no_file_of_its_name_here(above, around, tmp_path):
    root = numbered(tmp_path / "t" / around, 12, "video1")
    rows = [f"{above}video1/{i}.png,{'ab'[i % 2]}" for i in range(8)]
    rows += [f"{above}video2/{i}.png,b" for i in range(12)]
    for name in ("labels.csv", "annotations/labels.csv"):
        table(root, "file,label", *rows, name=name)
        arrays = read_imagefolder(tmp_path / "t")
        assert len(arrays.train) == 8
        assert arrays.reading.left_out["not in the table of labels"] == 4
        (root / name).unlink()


def test_files_that_a_table_labels_are_no_masks(tmp_path):
    root = tmp_path / "t"
    for i in range(6):
        save(root / f"{i}.jpg", picture(0))
        save(root / f"{i}_mask.jpg", picture(1))
    with pytest.raises(InputError, match="not used: 6 files, which are masks, by their names"):
        read_imagefolder(root)
    rows = [f"{i}{mask}.jpg,{'yes' if mask else 'no'}" for i in range(6) for mask in ("", "_mask")]
    table(root, "file,label", *rows)
    found = labels_by_file(read_imagefolder(root))
    assert len(found) == 12
    assert all(("mask" in name) == (label == "yes") for name, label in found.items())
    for columns in ("image,mask,label", "mask,photo,label"):
        first, second = ("", "_mask") if columns.startswith("image") else ("_mask", "")
        table(root, columns, *(f"{i}{first}.jpg,{i}{second}.jpg,{i % 2}" for i in range(6)))
        assert labels_by_file(read_imagefolder(root)) == {f"{i}.jpg": str(i % 2) for i in range(6)}


def test_a_table_may_be_json_or_lie_in_a_folder_beside_the_numbered(tmp_path):
    lines = [f'{{"file_name": "{i}.png", "label": {i % 2}, "note": "a\u2028b"}}' for i in range(8)]
    first = '{"file_name": "none.png", "label": null, "note": "x"}'
    table(numbered(tmp_path / "t", 8), first, *lines, name="metadata.jsonl")
    assert read_imagefolder(tmp_path / "t").classes == ("0", "1")
    root = numbered(tmp_path / "u", 8, "images")
    table(root, "file,label", *(f"{i}.png,{i % 2}" for i in range(8)), name="annotations/all.csv")
    assert read_imagefolder(root).classes == ("0", "1")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels.xlsx", b"PK", "labels.xlsx cannot be read: it is a spreadsheet; save it as CSV"),
        ("labels.jsonl", b'{"file": 1}\n[]', "labels.jsonl cannot be read: line 2 is no JSON obj"),
        (
            "labels.csv",
            b"file,label\n\0\x81",
            "labels.csv cannot be read: its text is not UTF-8; s",
        ),
    ],
)
def test_a_table_that_cannot_be_read_is_named(name, content, message, tmp_path):
    root = numbered(tmp_path / "t", 4)
    (root / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_imagefolder(root)


def test_missing_labels_of_r_and_numbers_of_patients_are_no_classes(tmp_path):
    root = numbered(tmp_path / "t", 9)
    table(root, "file,label", *(f"{i}.png,{['Na', 'K', 'NA'][i % 3]}" for i in range(9)))
    arrays = read_imagefolder(root)
    assert arrays.classes == ("K", "Na")
    assert arrays.notes[0].endswith(
        "column label; 3 of its rows have NA, which is taken as no label"
    )
    table(root, "file,PatientID", *(f"{i}.png,p{i % 3}" for i in range(9)))
    with pytest.raises(InputError, match=r"labels.csv has no column called label or class"):
        read_imagefolder(root)


def test_a_test_table_with_other_names_of_columns_labels_the_test_numbered(tmp_path):
    root = tree(tmp_path / "t", ["Train/0", "Train/1"])
    numbered(root, 4, "Test")
    table(
        root, "Width,ClassId,Path", *(f"9,{i % 2},Test/{i}.png" for i in range(4)), name="Test.csv"
    )
    assert len(read_imagefolder(root).test) == 4
    table(root, "Width,Kind,Path", *(f"9,{i % 2},Test/{i}.png" for i in range(4)), name="Test.csv")
    note = "the test images have no labels (Test.csv has no column called label or class), so they"
    assert any(one.startswith(note) for one in read_imagefolder(root).notes)


def test_a_table_in_a_folder_of_its_own_does_not_contradict_folders_of_classes(tmp_path):
    root = tree(tmp_path / "t", ["cat", "dog"], count=4)
    rows = [f"{file.name},{i}" for i, file in enumerate(sorted(root.rglob("*.png")))]
    table(root, "file,label", *rows, name="info/breeds.csv")
    assert read_imagefolder(root).classes == ("cat", "dog")


@pytest.mark.parametrize("name", ["predictions/train.csv", "runs/p.csv", "old/train_labels.csv"])
def test_a_table_aside_comes_after_folders_tables_and_names(name, tmp_path):
    folders = tree(tmp_path / "t", ["cat", "dog"], count=4)
    files = sorted(folders.rglob("*.png"))
    rows = [f"{file.name},{'cat' if i % 3 else 'dog'}" for i, file in enumerate(files)]
    table(folders, "file,label", *rows, name=name)
    found = labels_by_file(read_imagefolder(folders))
    assert all(file.startswith(label) for file, label in found.items())
    flat = numbered(tmp_path / "u", 8)
    table(flat, "file,label", *(f"{i}.png,{'ab'[i % 2]}" for i in range(8)))
    table(flat, "file,label", *(f"{i}.png,a" for i in range(5)), name=name)
    assert labels_by_file(read_imagefolder(flat)) == {f"{i}.png": "ab"[i % 2] for i in range(8)}
    for i in range(8):
        save(tmp_path / "v" / f"{('cat', 'dog')[i % 2]}.{i}.png", picture(i))
    table(tmp_path / "v", "file,width", *(f"cat.{i}.png,{i % 3}" for i in range(8)), name=name)
    assert read_imagefolder(tmp_path / "v").classes == ("cat", "dog")
    unlabelled = numbered(tree(tmp_path / "w", ["train/cat", "train/dog"]), 4, "test")
    table(unlabelled, "file,label", *(f"{i}.png,cat" for i in range(4)), name="out/test.csv")
    assert read_imagefolder(unlabelled).reading.left_out["test image without a label"] == 4


def test_folders_that_only_end_in_images_are_no_shards(tmp_path):
    root = tree(tmp_path / "t", ["cat_images", "dog_images"], count=4)
    files = sorted(root.rglob("*.png"))
    table(root, "file,label", *(f"{file.name},{'ab'[i % 2]}" for i, file in enumerate(files)))
    with pytest.raises(InputError, match=r"2 folders or the labels of labels.csv\?"):
        read_imagefolder(root)


@pytest.mark.parametrize("words", [("train", "holdout"), ("in", "out"), ("trainval", "test")])
def test_words_of_a_split_that_are_no_parts_are_not_passed_over(words, tmp_path):
    root = numbered(tmp_path / "t", 12)
    table(root, "file,label,split", *(f"{i}.png,{'ab'[i % 2]},{words[i > 7]}" for i in range(12)))
    with pytest.raises(InputError, match="column split has the words .* not all of them are part"):
        read_imagefolder(root)


def test_tables_that_contradict_each_other_are_refused(tmp_path):
    root = numbered(tmp_path / "t", 12)
    table(root, "file,label", *(f"{i}.png,{'ab'[i % 2]}" for i in range(12)))
    table(root, "file,class", *(f"{i}.png,{'ab'[i % 3 > 1]}" for i in range(12)), name="p.csv")
    with pytest.raises(InputError, match=r"p.csv and labels.csv have other labels .* 1.png is a"):
        read_imagefolder(root)
    table(root, "file,class", *(f"{i}.png,{i % 2 + 1}" for i in range(12)), name="p.csv")
    assert len(read_imagefolder(root).classes) == 2  # numbers of the same classes


def test_of_two_columns_of_other_classes_one_must_be_called_label(tmp_path):
    root = numbered(tmp_path / "t", 12)
    rows = [f"{i}.png,{'ab'[i % 2]},{'cde'[i % 3]}" for i in range(12)]
    table(root, "file,species,breed", *rows)
    with pytest.raises(InputError, match="which column has the labels, breed or species"):
        read_imagefolder(root)
    table(root, "file,label,breed", *rows)
    assert read_imagefolder(root).classes == ("a", "b")
    table(root, "file,class,class_id", *(f"{i}.png,{'ab'[i % 2]},{i % 2}" for i in range(12)))
    assert read_imagefolder(root).classes == ("a", "b")


@pytest.mark.parametrize("column", ["fold", "width", "height", "kfold"])
def test_folds_and_sizes_are_no_classes(column, tmp_path):
    for i in range(8):
        save(tmp_path / "t" / f"{['cat', 'dog'][i % 2]}.{i}.png", picture(i))
    rows = [f"{['cat', 'dog'][i % 2]}.{i}.png,{i % 4}" for i in range(8)]
    table(tmp_path / "t", f"file,{column}", *rows)
    assert read_imagefolder(tmp_path / "t").classes == ("cat", "dog")


def test_labels_in_names_come_before_a_column_that_may_be_anything(tmp_path):
    for i in range(8):
        save(tmp_path / "t" / f"{['cat', 'dog'][i % 2]}.{i}.png", picture(i))
    rows = [f"{['cat', 'dog'][i % 2]}.{i}.png,{'xyz'[i % 3]}" for i in range(8)]
    table(tmp_path / "t", "file,camera", *rows)
    assert read_imagefolder(tmp_path / "t").classes == ("cat", "dog")


@pytest.mark.parametrize(("labels", "message"), [('["cat"]', ""), ('["cat", "dog"]', "several")])
def test_a_list_of_labels_in_json_is_several_labels(labels, message, tmp_path):
    root = numbered(tmp_path / "t", 8)
    rows = [f'{{"file_name": "{i}.png", "label": ["{["cat", "dog"][i % 2]}"]}}' for i in range(8)]
    rows[0] = f'{{"file_name": "0.png", "label": {labels}}}'
    table(root, *rows, name="metadata.jsonl")
    if message:
        with pytest.raises(InputError, match=r"metadata.jsonl has several labels for 1 of 8 file"):
            read_imagefolder(root)
    else:
        assert read_imagefolder(root).classes == ("cat", "dog")


def test_a_table_whose_column_has_no_usual_name_may_contradict_folders(tmp_path):
    root = tmp_path / "t"
    for i in range(24):
        save(root / f"subject{i % 3}" / f"{i}.png", picture(i))
    table(root, "file,emotion", *(f"{i}.png,{['sad', 'glad'][i % 2]}" for i in range(24)))
    with pytest.raises(InputError, match="are the classes the 3 folders or the labels of labels"):
        read_imagefolder(root)
    table(root, "file,age", *(f"{i}.png,{20 + i % 2}" for i in range(24)))
    assert len(read_imagefolder(root).classes) == 3


def test_a_table_of_the_test_images_alone_is_named_in_the_refusal(tmp_path):
    root = numbered(tmp_path / "t", 8, "images")
    table(root, "file,label", *(f"{i}.png,{i % 2}" for i in range(8)), name="eval_labels.csv")
    with pytest.raises(InputError, match=r"not used: eval_labels.csv is for the test images, by"):
        read_imagefolder(root)


@pytest.mark.parametrize(
    ("name", "header", "row"),
    [
        ("metadata.csv", "id,path,age", "{},dicom/p{}.dcm,3"),
        ("metadata.csv", "0.png,30", "{}.png,{}"),
        ("metadata.csv", "file,species,breed", "{}.png,s{},b1"),
    ],
)
def test_what_is_wrong_with_one_table_does_not_spoil_another(name, header, row, tmp_path):
    root = numbered(tmp_path / "t", 12)
    table(root, "file,label", *(f"{i}.png,{'ab'[i % 2]}" for i in range(12)))
    table(root, header, *(row.format(i, i % 3) for i in range(12)), name=name)
    assert read_imagefolder(root).classes == ("a", "b")


def test_names_of_one_word_do_not_come_before_a_table(tmp_path):
    for i in range(12):
        save(tmp_path / "t" / f"img.{i}.png", picture(i))
    rows = [f"img.{i}.png,{['glad', 'sad'][i % 2]}" for i in range(12)]
    table(tmp_path / "t", "file,emotion", *rows)
    assert read_imagefolder(tmp_path / "t").classes == ("glad", "sad")


def test_the_column_that_divides_need_not_be_the_first_with_such_a_name(tmp_path):
    root = numbered(tmp_path / "t", 12)
    rows = (f"{i}.png,{'ab'[i % 2]},{'AB'[i % 2]},{part}" for i, part in enumerate(PARTS))
    table(root, "file,label,subset,split", *rows)
    arrays = read_imagefolder(root)
    assert (len(arrays.train), len(arrays.test)) == (6, 4)


def test_what_else_is_known_of_images_in_folders_of_words_is_no_label(tmp_path):
    for i in range(12):
        save(tmp_path / "t" / ["benign", "malignant"][i % 2] / f"{i}.png", picture(i))
    table(tmp_path / "t", "file,sex", *(f"{i}.png,{'fm'[i % 3 > 1]}" for i in range(12)))
    assert read_imagefolder(tmp_path / "t").classes == ("benign", "malignant")


def test_the_image_that_two_tables_disagree_about_is_named(tmp_path):
    root = numbered(tmp_path / "t", 12)
    table(root, "file,label", *(f"{i}.png,{'ab'[i % 2]}" for i in range(12)))
    wrong = [f"{i}.png,{(i + (i == 11)) % 2}" for i in range(12)]
    table(root, "file,class", *wrong, name="p.csv")
    with pytest.raises(InputError, match=r"11.png is (0|b) in one, and (0|b) in the other"):
        read_imagefolder(root)


PARTS_ASIDE = {
    "images beside labels": ("images/train", "images/test", "labels/train.csv", "labels/test.csv"),
    "parts beside labels": ("train", "test", "annotations/train.csv", "annotations/test.csv"),
    "names that contain the part": ("train", "test", "meta/y_train.csv", "meta/y_test.csv"),
}


@pytest.mark.parametrize("shared", [True, False], ids=["same names", "other names"])
@pytest.mark.parametrize("layout", PARTS_ASIDE)
def test_tables_in_a_folder_of_their_own_are_those_of_their_parts(layout, shared, tmp_path):
    """Images of two parts may have the same names, and other classes."""
    train, test, *names = PARTS_ASIDE[layout]
    root = tmp_path / "t"
    for number, (folder, name) in enumerate(zip((train, test), names, strict=True)):
        rows = []
        for i in range(12):
            file = f"{i if shared else 100 * number + i}.png"
            label = "ab"[(i + number) % 2]
            save(root / folder / file, picture((i + number) % 2))
            rows.append(f"{file},{label}")
        table(root, "file,label", *rows, name=name)
    found = read_imagefolder(root)
    for images in (found.train, found.test):
        assert len(images) == 12
        is_bright = images.pixels.mean(axis=(1, 2, 3)) > 125
        assert is_bright.astype(int).tolist() == images.labels.tolist()


@pytest.mark.parametrize("counts", [(12, 12), (24, 12)])
def test_tables_in_a_folder_of_their_own_divide_the_images_of_one_folder(counts, tmp_path):
    root, first = tmp_path / "t", 0
    for name, count in zip(("train", "test"), counts, strict=True):
        rows = []
        for i in range(first, first + count):
            save(root / "images" / f"{i}.png", picture(i))
            rows.append(f"{i}.png,{'ab'[i % 2]}")
        table(root, "file,label", *rows, name=f"annotations/{name}.csv")
        first += count
    found = read_imagefolder(root)
    assert (len(found.train), len(found.test)) == counts


def test_a_flat_test_folder_has_its_labels_in_a_folder_of_labels(tmp_path):
    root = numbered(tree(tmp_path / "t", ["train/a", "train/b"]), 4, "test")
    table(
        root,
        "file,label",
        *(f"{i}.png,{'ab'[i % 2]}" for i in range(4)),
        name="labels/test_labels.csv",
    )
    assert read_imagefolder(root).test.labels.tolist().count(1) == 2


def test_whole_numbers_with_a_point_are_the_same_labels(tmp_path):
    """As pandas writes them where one is missing."""
    root = numbered(tmp_path / "t", 12)
    table(root, "file,label", *(f"{i}.png,{i % 2}{'.0' * (i > 5)}" for i in range(12)))
    assert read_imagefolder(root).classes == ("0", "1")


@pytest.mark.parametrize(
    ("column", "words", "part"),
    [
        ("is_valid", "False True", "validation"),
        ("is_test", "0 1", "test"),
        ("is_train", "yes no", "test"),
        ("set", "trn tst", "test"),
    ],
)
def test_a_column_of_flags_divides_the_images(column, words, part, tmp_path):
    root, (no, yes) = numbered(tmp_path / "t", 20), words.split()
    rows = [f"{i}.png,{'ab'[i % 2]},{yes if i < 6 else no}" for i in range(20)]
    table(root, f"file,label,{column}", *rows)
    found = read_imagefolder(root)
    assert len(getattr(found, part)) == 6
    assert len(found.train) == 14
    table(
        root,
        f"file,label,{column},is_val",
        *(f"{row},{int(i > 15)}" for i, row in enumerate(rows)),
    )
    with pytest.raises(InputError, match=f"columns {column} and is_val divide .* different ways"):
        read_imagefolder(root)


@pytest.mark.parametrize("name", ["labels.csv", "meta/labels.csv"])
@pytest.mark.parametrize("above", ["", "photos/", "/home/me/photos/", "../photos/"])
def test_a_path_is_that_of_the_file_whose_path_ends_with_it(above, name, tmp_path):
    root = tmp_path / "t"
    rows = []
    for part, shift in (("train", 0), ("test", 1)):
        numbered(root / "photos" / part, 8)
        rows += [f"{above}{part}/{i}.png,{'ab'[(i + shift) % 2]}" for i in range(8)]
    table(root, "file,label", *rows, name=name)
    found = labels_by_file(read_imagefolder(root))
    assert found == {
        f"photos/{part}/{i}.png": "ab"[(i + (part == "test")) % 2]
        for part in ("train", "test")
        for i in range(8)
    }
    table(root, "file,label", *rows[8:], name=name)  # of the test images only
    with pytest.raises(InputError, match=r"labels.csv names 0 of 8 images"):
        read_imagefolder(root)


def test_a_path_without_suffix_or_in_another_case_is_of_its_folder_too(tmp_path):
    root = tmp_path / "t"
    for part in ("train", "test"):
        numbered(root / "photos" / part, 8)
    rows = [f"Test/{i},{'ab'[i % 2]}" for i in range(8)]
    table(root, "file,label", *rows)
    with pytest.raises(InputError, match=r"labels.csv names 0 of 8 images"):
        read_imagefolder(root)
    table(root, "file,label", *rows, *(f"TRAIN/{i},{'ba'[i % 2]}" for i in range(8)))
    found = labels_by_file(read_imagefolder(root))
    assert found["photos/train/0.png"] == "b"
    assert found["photos/test/0.png"] == "a"


def test_images_of_one_name_in_several_folders_need_names_before_they_lie_in_one(tmp_path):
    for site in ("north", "south"):
        numbered(tmp_path / "t" / site, 6)
    rows = [f"{site}/{i}.png,{'ab'[i % 2]}" for site in ("north", "south") for i in range(6)]
    table(tmp_path / "t", "file,label", *rows)
    with pytest.raises(InputError, match="into one folder, each under a name of its own, and wri"):
        read_imagefolder(tmp_path / "t")


def test_columns_for_each_class_with_one_1_are_labels(tmp_path):
    root = numbered(tmp_path / "t", 9)
    rows = [
        f"{i}.png,{','.join('1.0' if i % 3 == k else '0.0' for k in range(3))}" for i in range(9)
    ]
    table(root, "image,cat,dog,owl", *rows)
    found = labels_by_file(read_imagefolder(root))
    assert found == {f"{i}.png": ("cat", "dog", "owl")[i % 3] for i in range(9)}
    table(root, "image,cat,dog,owl", *rows[:-1], "8.png,1.0,1.0,0.0")
    with pytest.raises(InputError, match=r"labels.csv has no column called label or class"):
        read_imagefolder(root)
    table(
        root,
        ",image,cat,dog,owl,split",
        *(f"{i},{row},{'test' if i > 5 else 'train'}" for i, row in enumerate(rows)),
    )
    arrays = read_imagefolder(root)
    assert (arrays.classes, len(arrays.train), len(arrays.test)) == (("cat", "dog", "owl"), 6, 3)
    tree(tmp_path / "u", ["cat", "dog"])  # beside classes, left and right are others
    names = [f"{one}_{i}.png" for one in ("cat", "dog") for i in range(6)]
    table(
        tmp_path / "u",
        "image,left,right",
        *(f"{name},{i % 2},{1 - i % 2}" for i, name in enumerate(names)),
    )
    assert read_imagefolder(tmp_path / "u").classes == ("cat", "dog")


def test_tables_that_differ_in_a_number_are_one_unless_they_are_of_folds(tmp_path):
    root = numbered(tmp_path / "t", 12)
    rows = [f"{i}.png,{'ab'[i % 2]}" for i in range(12)]
    for year, some in ((2019, rows[:5]), (2020, rows[5:8]), (2021, rows[8:])):
        table(root, "file,label", *some, name=f"photos_{year}.csv")
    arrays = read_imagefolder(root)
    assert len(labels_by_file(arrays)) == 12
    assert "are from photos_2019.csv and 2 more, column label" in arrays.notes[0]
    parts = numbered(tmp_path / "v", 12)
    for name, some in (
        ("train1", rows[:8]),
        ("test1", rows[8:]),
        ("train2", rows[4:]),
        ("test2", rows[:4]),
    ):
        table(parts, "file,label", *some, name=f"{name}.csv")
    arrays = read_imagefolder(parts)
    assert (len(arrays.train), len(arrays.test)) == (8, 4)
    numbered(tmp_path / "u", 12)
    for fold in range(2):
        table(tmp_path / "u", "file,label", *rows[6 * fold : 6 * fold + 6], name=f"fold{fold}.csv")
    assert len(labels_by_file(read_imagefolder(tmp_path / "u"))) == 6


def test_a_label_that_mostly_stands_for_none_is_no_class_unless_it_is_one_of_two(tmp_path):
    root = numbered(tmp_path / "t", 12)
    table(root, "file,label", *(f"{i}.png,{i % 3 - 1}" for i in range(12)))
    with pytest.raises(
        InputError, match="the label -1 for 4 images, which mostly stands for none"
    ):
        read_imagefolder(root)
    table(root, "file,label", *(f"{i}.png,{i % 2 * 2 - 1}" for i in range(12)))
    assert read_imagefolder(root).classes == ("-1", "1")
    table(
        root,
        "file,label,split",
        *(f"{i}.png,{i % 2 if i < 9 else -1},{'test' * (i > 8) or 'train'}" for i in range(12)),
    )
    arrays = read_imagefolder(root)  # hidden labels
    assert (arrays.classes, len(arrays.train), len(arrays.test)) == (("0", "1"), 9, 0)
    assert arrays.reading.left_out["test image without a label"] == 3


def test_labels_that_are_joined_by_a_space_are_several_if_each_is_one(tmp_path):
    root = numbered(tmp_path / "t", 9)
    table(
        root, "file,label", *(f"{i}.png,{['scab', 'rust', 'rust scab'][i % 3]}" for i in range(9))
    )
    with pytest.raises(InputError, match=r"several labels for 3 of 9 files, such as 2.png: rust,"):
        read_imagefolder(root)
    words = ["red apple", "red car", "green apple"]
    table(root, "file,label", *(f"{i}.png,{words[i % 3]}" for i in range(9)))
    assert read_imagefolder(root).classes == tuple(sorted(words))


@pytest.mark.parametrize("name", ["predictions.csv", "baseline.csv", "my_submission.csv"])
def test_guesses_beside_the_labels_of_train_are_none_of_the_test_images(name, tmp_path):
    root = numbered(tmp_path / "t" / "train", 8).parent
    numbered(root / "test", 8)
    table(root, "file,label", *(f"{i}.png,{'ab'[i % 2]}" for i in range(8)), name="train.csv")
    table(root, "file,label", *(f"{i}.png,{'ba'[i % 2]}" for i in range(8)), name=name)
    arrays = read_imagefolder(root)
    assert (len(arrays.train), len(arrays.test)) == (8, 0)
    assert arrays.reading.left_out["test image without a label"] == 8
    assert any(f"{name} " in note for note in arrays.notes)
    (root / name).rename(root / "test_labels.csv")
    assert len(read_imagefolder(root).test) == 8


def test_words_for_guesses_in_names_of_folders_and_of_labels_hide_nothing(tmp_path):
    for name in ("labels.csv", "age_prediction_labels.csv"):
        root = tmp_path / name / "weather-prediction"
        numbered(root, 8, "images")
        table(root, "file,label", *(f"{i}.png,{'ab'[i % 2]}" for i in range(8)), name=name)
        assert len(labels_by_file(read_imagefolder(tmp_path / name))) == 8


def test_a_table_whose_only_column_is_not_called_label_is_named(tmp_path):
    root = tree(tmp_path / "t", ["train/n01", "train/n02"])
    numbered(root / "val", 8)
    table(root, "file,wnid", *(f"{i}.png,n0{1 + i % 2}" for i in range(8)), name="val.csv")
    with pytest.raises(InputError, match="val.csv names the images, but its column wnid is not"):
        read_imagefolder(root)


def test_numbers_in_a_table_are_those_of_the_folders_and_other_names_are_said(tmp_path):
    root = tree(tmp_path / "t", ["train/00007", "train/00010"])
    numbered(root / "test", 8)
    table(root, "file,label", *(f"{i}.png,{(7, 10)[i % 2]}" for i in range(8)), name="test.csv")
    arrays = read_imagefolder(root)
    assert arrays.classes == ("00007", "00010")
    assert arrays.test.labels.tolist() == [0] * 4 + [1] * 4
    table(root, "file,label", *(f"{i}.png,{'ab'[i % 2]}" for i in range(8)), name="test.csv")
    with pytest.raises(InputError, match=r"that train lacks: a, b; they are in test.csv: write"):
        read_imagefolder(root)


def test_two_numbers_that_are_one_in_the_training_images_are_not_lost(tmp_path):
    root = tree(tmp_path / "t", ["train/7", "train/8", "test/7", "test/007", "test/8"])
    with pytest.raises(InputError, match="two classes, 7 and another, that are 7 of train"):
        read_imagefolder(root)
    assert read_imagefolder(tree(tmp_path / "u", ["1", "01"])).classes == ("01", "1")


@pytest.mark.parametrize(
    "labels",
    [
        ["['oak']", "['elm']", "['oak', 'elm']"],
        ['{"choices": ["oak", "elm"]}', "oak", "elm"],
        ["oak", "elm", "oak+elm"],
        ["oak", "elm", "elm & oak"],
        ["oak", "elm", "oak/elm"],
    ],
)
def test_several_labels_in_one_cell_are_no_class_however_they_are_joined(labels, tmp_path):
    root = numbered(tmp_path / "data", 12)
    quoted = [label.replace('"', '""') for label in labels]
    table(root, "file,label", *(f'{i}.png,"{quoted[i % 3]}"' for i in range(12)))
    with pytest.raises(InputError, match="several labels for 4 of 12 files, such as .*: elm, oak"):
        read_imagefolder(root)


def test_a_list_of_one_label_is_that_label_and_a_name_may_have_a_sign_in_it(tmp_path):
    root = numbered(tmp_path / "data", 12)
    labels = ["['oak']", "C++", "and/or"]
    table(root, "file,label", *(f'{i}.png,"{labels[i % 3]}"' for i in range(12)))
    assert read_imagefolder(root).classes == ("C++", "and/or", "oak")


def test_a_class_that_may_stand_for_no_label_is_said(tmp_path):
    root = numbered(tmp_path / "data", 12)
    table(root, "file,label", *(f"{i}.png,{('oak', 'elm', 'None')[i % 3]}" for i in range(12)))
    arrays = read_imagefolder(root)
    assert arrays.classes == ("None", "elm", "oak")
    assert any(
        "as classes of their own, too: None (leave cells empty" in one for one in arrays.notes
    )


def test_a_table_for_excel_and_one_with_long_cells_are_read(tmp_path):
    excel, long = numbered(tmp_path / "excel", 8), numbered(tmp_path / "long", 8)
    rows = [(f"{i}.png", "ab"[i % 2]) for i in range(8)]
    table(excel, "sep=;", "file;label", *map(";".join, rows))
    table(long, "file,label,mask", *(f"{','.join(row)},{'1 2 ' * 40_000}" for row in rows))
    for root in (excel, long):
        assert read_imagefolder(root).classes == ("a", "b")


def test_columns_for_each_class_may_stand_in_another_order_for_the_test_images(tmp_path):
    root = tmp_path / "data"
    for part, order in (("train", "abc"), ("test", "cab")):
        numbered(root, 12, part)
        table(
            root,
            f"file,{','.join(order)}",
            *(
                f"{part}/{i}.png,{','.join(str(int(one == 'abc'[i % 3])) for one in order)}"
                for i in range(12)
            ),
            name=f"{part}.csv",
        )
    arrays = read_imagefolder(root)
    assert len(arrays.test) == 12
    assert labels_by_file(arrays)["test/1.png"] == "b"


def test_labels_of_the_folders_themselves_are_a_question(tmp_path):
    folders = [f"ward{i}" for i in range(6)]
    root = tree(tmp_path / "data", folders, 3)
    table(root, "ward,label", *(f"{name},{'ab'[i % 2]}" for i, name in enumerate(folders)))
    with pytest.raises(
        InputError, match=r"the 6 folders or the labels of labels.csv\? It has the"
    ):
        read_imagefolder(root)
    table(root, "ward,label", *(f"{name},{name.upper()}" for name in folders))
    assert len(read_imagefolder(root).classes) == 6


def test_images_of_one_patient_may_be_groups_and_that_is_said(tmp_path):
    root = numbered(tmp_path / "data", 12)
    rows = [f"{i}.png,{'ab'[i // 6]},P{i // 2},{i}" for i in range(12)]
    table(root, "file,label,Patient_ID,case", *rows)
    said = [one for one in read_imagefolder(root).notes if "belong together" in one]
    assert said == [
        "if the images with one Patient_ID in labels.csv belong together, say so: groups: "
        "FILE, a table with the columns file and group"
    ]
    groups = tmp_path / "groups.csv"
    groups.write_text("\n".join(["File,Group", *(f"{i}.png,P{i // 2}" for i in range(12))]))
    arrays = read_imagefolder(root, ImageOptions(groups=str(groups)))
    assert len(set(arrays.groups)) == 6
    assert not any("belong together" in one for one in arrays.notes)
    groups.write_text(
        "\n".join(["file,group", *(f"{i}.png,{'NaN' if i else 'x'}" for i in range(12))])
    )
    with pytest.raises(InputError, match="has no group for 11 of 12"):
        read_imagefolder(root, ImageOptions(groups=str(groups)))


def test_a_table_of_too_few_images_says_how_many_are_needed(tmp_path):
    root = numbered(tmp_path / "data", 30)
    table(root, "file,label", *(f"{i}.png,{'ab'[i % 2]}" for i in range(10)))
    with pytest.raises(
        InputError, match=r"names 10 of 30 images, and half are needed \(its first"
    ):
        read_imagefolder(root)


@pytest.mark.parametrize(
    "labels",
    [
        ("1/4", "1/2", "3/4"),
        ("AC/DC", "AC", "blues"),
        ("black & white", "black", "red"),
        ("C++", "C", "D+"),
    ],
)
def test_a_sign_in_a_name_joins_nothing_unless_each_part_is_a_label(labels, tmp_path):
    root = numbered(tmp_path / "data", 12)
    table(root, "file,label", *(f"{i}.png,{labels[i % 3]}" for i in range(12)))
    assert sorted(read_imagefolder(root).classes) == sorted(labels)


@pytest.mark.parametrize("column", ["lesion", "person", "participant", "slide"])
def test_the_only_column_may_be_classes_whose_name_is_also_that_of_groups(column, tmp_path):
    root = numbered(tmp_path / "data", 12)
    table(root, f"image,{column}", *(f"{i}.png,{'ab'[i % 2]}" for i in range(12)))
    arrays = read_imagefolder(root)
    assert arrays.classes == ("a", "b")
    assert not any("belong together" in note for note in arrays.notes)


def test_a_table_that_describes_the_classes_is_no_question(tmp_path):
    root = tree(tmp_path / "data", ("cat", "dog", "eagle", "owl"), 3)
    table(
        root,
        "name,category",
        "cat,mammal",
        "dog,mammal",
        "eagle,bird",
        "owl,bird",
        name="classes.csv",
    )
    assert len(read_imagefolder(root).classes) == 4


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "labels.csv",
            "file,label,mask\n"
            + "".join(f"{i}.png,{'ab'[i % 2]},{'1 ' * 40_000}\n" for i in range(8)),
        ),
        (
            "labels.csv",
            "file,label\r" + "".join(f"{i}.png,{'ab'[i % 2]}\r" for i in range(8)) + "\r" * 70_000,
        ),
    ],
    ids=["long cells", "ends of lines of an old Mac"],
)
def test_a_long_table_is_read_alike_from_a_folder_and_an_archive(
    is_packed, name, content, tmp_path
):
    root = numbered(tmp_path / "data", 8)
    (root / name).write_bytes(content.encode())
    if is_packed:
        root = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", root))
    assert read_imagefolder(root).classes == ("a", "b")


def test_a_table_whose_only_row_is_long_ends(tmp_path):
    root = tree(tmp_path / "data", ("cat", "dog"))
    (root / "meta.csv").write_text("file,text\ncat/cat_0.png," + "x" * 80_000)
    (root / "annotations.jsonl").write_text('{"text": "' + "x" * 70_000 + '"}')
    assert read_imagefolder(root).classes == ("cat", "dog")
