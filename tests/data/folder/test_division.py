"""Parts that only tables tell: columns of parts, and lists of the files of each."""

from __future__ import annotations

import pytest

from tests.support.trees import PARTS, numbered, picture, save, table
from tunecnn.data.folder.reader import read_imagefolder
from tunecnn.errors import InputError


@pytest.mark.parametrize("header", ["file,split", "file,part"])
def test_a_table_without_labels_divides_the_images_of_folders_and_of_names(header, tmp_path):
    folders, flat = tmp_path / "folders", tmp_path / "flat"
    for i in range(12):
        save(folders / "ab"[i % 2] / f"{i}.png", picture(i))
        save(flat / f"{'ab'[i % 2]}.{i}.png", picture(i))
    table(folders, header, *(f"{i}.png,{part}" for i, part in enumerate(PARTS)))
    table(flat, header, *(f"{'ab'[i % 2]}.{i}.png,{part}" for i, part in enumerate(PARTS[:11])))
    for root, tests in ((folders, {8, 9, 10, 11}), (flat, {8, 9, 10})):
        arrays = read_imagefolder(root)
        assert arrays.classes == ("a", "b")
        assert arrays.validation is not None
        counted = [len(arrays.train), len(arrays.validation), len(arrays.test)]
        assert counted == [6, 2, len(tests)]
        names = arrays.reading.files[-len(tests) :]
        assert {int("".join(filter(str.isdigit, name))) for name in names} == tests
        assert any("the parts are those of labels.csv" in note for note in arrays.notes)
    assert arrays.reading.left_out["in no part, by the tables of the parts"] == 1


def test_lists_of_files_for_each_part_divide_the_numbered(tmp_path):
    for i in range(12):
        save(tmp_path / "t" / "ab"[i % 2] / f"{i}.png", picture(i))
    for part in ("train", "val", "test"):
        rows = [f"{'ab'[i % 2]}/{i}.png" for i in range(12) if PARTS[i] == part]
        table(tmp_path / "t", "file", *rows, name=f"{part}.csv")
    arrays = read_imagefolder(tmp_path / "t")
    assert arrays.validation is not None
    assert [len(arrays.train), len(arrays.validation), len(arrays.test)] == [6, 2, 4]
    table(tmp_path / "t", "file", "a/0.png", "b/9.png", name="test.csv")
    with pytest.raises(
        InputError, match="a/0.png is one of the test images in test.csv, and one o"
    ):
        read_imagefolder(tmp_path / "t")


def test_validation_images_may_lie_in_the_folder_of_the_training_numbered(tmp_path):
    root = tmp_path / "t"
    rows = []
    for i, part in enumerate(PARTS):
        folder = "test" if part == "test" else "train"
        save(root / folder / f"{i}.png", picture(i))
        rows.append(f"{folder}/{i}.png,{'ab'[i % 2]},{part}")
    table(root, "file,label,split", *rows)
    arrays = read_imagefolder(root)
    assert arrays.validation is not None
    assert [len(arrays.train), len(arrays.validation), len(arrays.test)] == [6, 2, 4]
    assert "not in the table of labels" not in arrays.reading.left_out


def test_a_table_of_two_parts_has_the_training_images_beside_that_of_the_test(tmp_path):
    root = numbered(tmp_path / "t", 12, "images")
    for name, numbers in (("train_val", range(8)), ("test", range(8, 12))):
        table(root, "file,label", *(f"{i}.png,{'ab'[i % 2]}" for i in numbers), name=f"{name}.csv")
    arrays = read_imagefolder(root)
    assert [len(arrays.train), len(arrays.test)] == [8, 4]
    assert "not in the table of labels" not in arrays.reading.left_out


def test_a_class_whose_images_all_test_is_named(tmp_path):
    for i in range(12):
        save(tmp_path / "t" / "abc"[i % 3] / f"{i}.png", picture(i))
    parts = ["test" if i % 3 == 2 else "train" for i in range(12)]
    table(tmp_path / "t", "file,part", *(f"{i}.png,{part}" for i, part in enumerate(parts)))
    with pytest.raises(InputError, match="no train image of c"):
        read_imagefolder(tmp_path / "t")


def test_folders_of_parts_come_before_words_that_are_none(tmp_path):
    for i in range(12):
        save(tmp_path / "t" / ("train" if i < 8 else "test") / f"{i}.png", picture(i))
    rows = (f"{i}.png,{'ab'[i % 2]},{'AB'[i % 2]}" for i in range(12))
    table(tmp_path / "t", "file,label,subset", *rows)
    arrays = read_imagefolder(tmp_path / "t")
    assert (len(arrays.train), len(arrays.test)) == (8, 4)


def test_a_table_of_all_labels_and_one_of_the_test_images_divide_them(tmp_path):
    root = numbered(tmp_path / "t", 12)
    table(root, "file,label", *(f"{i}.png,{'ab'[i % 2]}" for i in range(12)))
    table(root, "file,label", *(f"{i}.png,{'ab'[i % 2]}" for i in range(8, 12)), name="test.csv")
    arrays = read_imagefolder(root)
    assert (len(arrays.train), len(arrays.test)) == (8, 4)


@pytest.mark.parametrize("names", [["labels"], ["train", "test"]])
def test_labels_in_names_stay_beside_tables_of_parts(names, tmp_path):
    for i in range(12):
        save(tmp_path / "t" / f"{['cat', 'dog'][i % 2]}.{i}.png", picture(i))
    rows = [f"{['cat', 'dog'][i % 2]}.{i}.png,{'xy'[i % 3 > 1]}" for i in range(12)]
    if names == ["labels"]:
        rows = [f"{row},{'train' if i < 8 else 'test'}" for i, row in enumerate(rows)]
        table(tmp_path / "t", "file,camera,split", *rows)
    else:
        table(tmp_path / "t", "file,camera", *rows[:8], name="train.csv")
        table(tmp_path / "t", "file,camera", *rows[8:], name="test.csv")
    arrays = read_imagefolder(tmp_path / "t")
    assert arrays.classes == ("cat", "dog")
    assert (len(arrays.train), len(arrays.test)) == (8, 4)


def test_a_column_may_name_validation_images_in_the_folders_of_train(tmp_path):
    rows = []
    for i, part in enumerate(PARTS):
        folder = f"{'test' if part == 'test' else 'train'}/{'ab'[i % 2]}"
        save(tmp_path / "t" / folder / f"{i}.png", picture(i))
        rows.append(f"{folder}/{i}.png,{part}")
    table(tmp_path / "t", "file,split", *rows)
    arrays = read_imagefolder(tmp_path / "t")
    assert arrays.validation is not None
    assert [len(arrays.train), len(arrays.validation), len(arrays.test)] == [6, 2, 4]


@pytest.mark.parametrize("folder", ["", "splits/"])
def test_lists_of_the_other_parts_leave_the_rest_to_train(folder, tmp_path):
    for i in range(12):
        save(tmp_path / "t" / "ab"[i % 2] / f"{i}.png", picture(i))
    for part, numbers in (("val", (6, 7)), ("test", (8, 9, 10, 11))):
        rows = [f"{'ab'[i % 2]}/{i}.png" for i in numbers]
        table(tmp_path / "t", "file", *rows, name=f"{folder}{part}.csv")
    arrays = read_imagefolder(tmp_path / "t")
    assert arrays.validation is not None
    assert [len(arrays.train), len(arrays.validation), len(arrays.test)] == [6, 2, 4]


def test_a_table_aside_divides_the_images_that_it_labels(tmp_path):
    root = numbered(tmp_path / "t", 12, "images")
    rows = (f"{i}.png,{'ab'[i % 2]},{part}" for i, part in enumerate(PARTS))
    table(root, "file,label,split", *rows, name="annotations/labels.csv")
    arrays = read_imagefolder(root)
    assert arrays.validation is not None
    assert [len(arrays.train), len(arrays.validation), len(arrays.test)] == [6, 2, 4]
    assert "not in the table of labels" not in arrays.reading.left_out


@pytest.mark.parametrize("words", [("train", "holdout"), ("in", "out")])
def test_words_that_are_no_parts_are_named_beside_folders_of_classes_too(words, tmp_path):
    for i in range(12):
        save(tmp_path / "t" / "ab"[i % 2] / f"{i}.png", picture(i))
    table(tmp_path / "t", "file,split", *(f"{i}.png,{words[i > 7]}" for i in range(12)))
    with pytest.raises(InputError, match="column split has the words .* not all of them are part"):
        read_imagefolder(tmp_path / "t")


def test_lists_of_several_folds_divide_nothing_and_are_named(tmp_path):
    for i in range(12):
        save(tmp_path / "t" / "ab"[i % 2] / f"{i}.png", picture(i))
    for fold in range(2):
        for part, tests in (("train", False), ("test", True)):
            rows = [f"{'ab'[i % 2]}/{i}.png" for i in range(12) if (i // 6 == fold) == tests]
            table(tmp_path / "t", "file", *rows, name=f"fold{fold}_{part}.csv")
    arrays = read_imagefolder(tmp_path / "t")
    assert len(arrays.train) == 12
    assert any("are not used: they divide the images in several ways" in one
               for one in arrays.notes)  # fmt: skip
