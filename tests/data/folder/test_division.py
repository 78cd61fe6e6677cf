"""Parts that only tables tell: columns of parts, and lists of the files of each."""

from __future__ import annotations

import pytest

from tests.support.trees import PARTS, numbered, picture, save, table, tree
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
        assert any(
            f"the parts are those of labels.csv, column {header[5:]}" in note
            for note in arrays.notes
        )
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
    assert "the validation images are those of labels.csv, column split" in arrays.notes


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
    assert "the parts are those of annotations/labels.csv, column split" in arrays.notes


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
    assert any(
        "are not used: they divide the images in several ways" in one for one in arrays.notes
    )


@pytest.mark.parametrize(
    ("column", "train", "test"),
    [
        ("is_training_img", "1", "0"),
        ("train", "True", "False"),
        ("in_test_set", "0", "1"),
        ("test", "no", "yes"),
        ("dataset_type", "train_set", "test_set"),
        ("cohort", "training", "external test"),
        ("data_split", "Train", "Test"),
    ],
)
def test_columns_that_divide_have_many_names(column, train, test, tmp_path):
    root = numbered(tmp_path / "t", 12)
    rows = (f"{i}.png,{'ab'[i % 2]},{test if i > 7 else train}" for i in range(12))
    table(root, f"file,label,{column}", *rows)
    arrays = read_imagefolder(root)
    assert sorted(arrays.reading.files[-4:]) == ["10.png", "11.png", "8.png", "9.png"]
    assert (len(arrays.train), len(arrays.test)) == (8, 4)


@pytest.mark.parametrize(
    ("column", "words"),
    [("train_test", "01"), ("data_split", ("train", "holdout")), ("split_id", "12")],
)
def test_a_column_that_divides_by_its_name_in_other_words_is_refused(column, words, tmp_path):
    root = numbered(tmp_path / "t", 12)
    table(
        root, f"file,label,{column}", *(f"{i}.png,{'ab'[i % 2]},{words[i > 7]}" for i in range(12))
    )
    with pytest.raises(InputError, match=f"its column {column} has the words .* not all of them"):
        read_imagefolder(root)


@pytest.mark.parametrize(
    ("column", "words"),
    [("test", ("positive", "negative")), ("lip_split", "01"), ("valid", ("1", "2")),
     ("valid", "10"), ("val", ("0.5", "1.0")), ("dev", "01"), ("test", "12"),
     ("caption", ("a train at dusk", "a bus")), ("trained_by", "ab")],
)  # fmt: skip
def test_other_columns_divide_nothing(column, words, tmp_path):
    root = numbered(tmp_path / "t", 12)
    table(
        root, f"file,label,{column}", *(f"{i}.png,{'ab'[i % 2]},{words[i > 7]}" for i in range(12))
    )
    assert (len(read_imagefolder(root).train), len(read_imagefolder(root).test)) == (12, 0)


def test_images_that_are_valid_or_not_may_be_the_classes(tmp_path):
    root = numbered(tmp_path / "t", 12)
    table(root, "file,valid", *(f"{i}.png,{i % 2}" for i in range(12)))
    assert read_imagefolder(root).classes == ("0", "1")


@pytest.mark.parametrize(
    "names", ["{}.txt", "meta/{}.txt", "{}_list.txt", "split/v1/{}Images.txt"]
)
@pytest.mark.parametrize("suffix", [".png", ""])
def test_lists_of_files_are_the_parts(names, suffix, tmp_path):
    root = tmp_path / "t"
    for i in range(12):
        save(root / "images" / "ab"[i % 2] / f"{i}.png", picture(i))
    for part, numbers in (("train", range(8)), ("test", range(8, 12))):
        lines = [f"{'ab'[i % 2]}/{i}{suffix}" for i in numbers]
        table(root, *lines, name=names.format(part))
    arrays = read_imagefolder(root)
    assert {int(name.rpartition("/")[2][:-4]) for name in arrays.reading.files[-4:]} == {
        8,
        9,
        10,
        11,
    }
    assert (len(arrays.train), len(arrays.test)) == (8, 4)


def test_lists_with_numbers_behind_the_files_are_their_labels(tmp_path):
    root = numbered(tmp_path / "t" / "images", 12).parent
    for part, numbers in (("train", range(8)), ("val", range(8, 12))):
        table(root, *(f"{i}.png {i % 2}" for i in numbers), name=f"{part}.txt")
    arrays = read_imagefolder(root)
    assert arrays.validation is not None
    assert (arrays.classes, len(arrays.train), len(arrays.validation)) == (("0", "1"), 8, 4)


def test_files_that_may_divide_and_cannot_be_read_are_named(tmp_path):
    root = tree(tmp_path / "t", ["images/a", "images/b"])
    (root / "train_test_split.txt").write_text("1 0\n2 1\n")
    (root / "train.json").write_text("{}")
    (root / "notes.txt").write_text("notes")
    notes = read_imagefolder(root).notes
    assert any(note.startswith("train.json, train_test_split.txt may say which") for note in notes)


@pytest.mark.parametrize(
    "line",
    ["'{}'", "{},0", "{}, cat", "{} cat", "{}\t0", "{};0", "0 {}", "{} 1.0", "{} -1", "{} 0 1"],
)
def test_lists_may_have_more_on_their_lines(line, tmp_path):
    for i in range(12):
        save(tmp_path / "t" / "ab"[i % 2] / f"{i}.png", picture(i))
    for part, numbers in (("train", range(8)), ("test", range(8, 12))):
        lines = [line.format(f"{'ab'[i % 2]}/{i}.png") for i in numbers]
        table(tmp_path / "t", *lines, name=f"{part}.txt")
    arrays = read_imagefolder(tmp_path / "t")
    assert (arrays.classes, len(arrays.train), len(arrays.test)) == (("a", "b"), 8, 4)


def test_lists_name_files_with_spaces_and_those_in_a_folder_of_parts(tmp_path):
    root = tree(tmp_path / "t", ["train/cat", "train/dog", "test/cat", "test/dog"])
    save(root / "train" / "cat" / "a cat.png")
    save(root / "train" / "dog" / "a dog.png", picture(1))
    table(root, "a cat", "a dog", name="val.txt")
    arrays = read_imagefolder(root)
    assert arrays.validation is not None
    assert (len(arrays.train), len(arrays.validation), len(arrays.test)) == (12, 2, 12)


def test_lists_that_divide_nothing_are_said(tmp_path):
    root = tree(tmp_path / "t", ["cat", "dog"])
    table(root, "epoch 1: loss 0.5", name="train.txt")
    assert any(
        note.startswith("train.txt names no file that is here (its first line: epoch")
        for note in read_imagefolder(root).notes
    )
    table(root, *(f"cat/cat_{i}.png" for i in range(4)), name="train.txt")
    notes = read_imagefolder(root).notes
    assert "train.txt names 4 training images, and the 8 others train too" in notes
    for fold in (1, 2):
        table(root, "cat/cat_0.png", name=f"train{fold}.txt")
    assert any(
        note.startswith("train1.txt, train2.txt may say which images train or test, but")
        for note in read_imagefolder(root).notes
    )


@pytest.mark.parametrize("suffix", ["csv", "txt"])
def test_labels_of_the_parts_that_are_other_words_for_the_folders_leave_them_their_names(
    suffix, tmp_path
):
    root = tree(tmp_path / "t", ["cat", "dog"])
    for part, numbers in (("train", range(4)), ("test", range(4, 6))):
        rows = [
            f"{one}/{one}_{i}.png,{int(one == 'dog')}" for i in numbers for one in ("cat", "dog")
        ]
        table(root, *["file,label"] * (suffix == "csv"), *rows, name=f"{part}.{suffix}")
    arrays = read_imagefolder(root)
    assert (arrays.classes, len(arrays.train), len(arrays.test)) == (("cat", "dog"), 8, 4)


@pytest.mark.parametrize("column", ["in_test_set", "test", "is_test"])
@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("y", "n"), ("TRUE", "FALSE")])
def test_a_column_of_flags_divides_folders_too(column, yes, no, tmp_path):
    root = tree(tmp_path / "t", ["cat", "dog"])
    rows = [f"{one}_{i}.png,{yes if i > 3 else no}" for one in ("cat", "dog") for i in range(6)]
    table(root, f"file,{column}", *rows, name="parts.csv")
    arrays = read_imagefolder(root)
    assert (arrays.classes, len(arrays.train), len(arrays.test)) == (("cat", "dog"), 8, 4)


def test_two_columns_that_divide_must_agree(tmp_path):
    root = numbered(tmp_path / "t", 12)
    rows = [
        f"{i}.png,{'ab'[i % 2]},{int(i > 9)},{'test' if i > 7 else 'train'}" for i in range(12)
    ]
    table(root, "file,label,is_valid,split", *rows)
    with pytest.raises(InputError, match="columns is_valid and split divide .* remove the others"):
        read_imagefolder(root)
    table(
        root,
        "file,label,is_test,split",
        *(f"{i}.png,{'ab'[i % 2]},{int(i > 7)},{'test' if i > 7 else 'train'}" for i in range(12)),
    )
    assert len(read_imagefolder(root).test) == 4


def test_more_images_that_validate_than_train_are_a_question(tmp_path):
    root = numbered(tmp_path / "t", 12)
    table(root, "file,label,is_valid", *(f"{i}.png,{'ab'[i % 2]},{i > 1}" for i in range(12)))
    with pytest.raises(InputError, match="is_valid makes 10 images validate, and 2 train: rename"):
        read_imagefolder(root)
    table(
        root,
        "file,label,is_train",
        *(f"{i}.png,{'ab'[i % 2]},{'ja' if i > 3 else 'nein'}" for i in range(12)),
    )
    with pytest.raises(InputError, match="is_train has the words ja, nein: write true and false"):
        read_imagefolder(root)


def whole_table(part_of, count=20):
    """Rows of a table of five kinds of bird, of which only two are kept."""
    return [
        f"{bird}/{bird}{i}.png,{part_of(i)}"
        for bird in ("crow", "duck", "owl", "rook", "wren")
        for i in range(count)
    ]


def kept(root, count=20, suffix="png"):
    for k, bird in enumerate(("owl", "wren")):
        for i in range(count):
            save(root / bird / f"{bird}{i}.{suffix}", picture(k))
    return root


def test_the_table_of_a_whole_data_set_divides_the_images_that_are_kept_of_it(tmp_path):
    one, lists, flat = (tmp_path / name for name in ("one", "lists", "flat"))
    kept(one)
    table(
        one, "file,split", *whole_table(lambda i: "test" if i < 5 else "train"), name="parts.csv"
    )
    kept(lists)
    rows = whole_table(lambda i: "")
    for name, is_of in (("train", lambda i: i >= 5), ("test", lambda i: i < 5)):
        mine = [row.rstrip(",") for i, row in enumerate(rows) if is_of(i % 20)]
        table(
            lists,
            "file,label",
            *(f"{row},{row.split('/')[0]}" for row in mine),
            name=f"{name}.csv",
        )
    numbered(flat, 9)
    for name, numbers in (("train", range(60)), ("test", range(60, 90))):
        table(
            flat,
            "file,label",
            *(f"{i // 10 if i % 10 == 0 else f'x{i}'}.png,{'ab'[i % 20 // 10]}" for i in numbers),
            name=f"{name}.csv",
        )
    for root, sizes in ((one, (30, 10)), (lists, (30, 10)), (flat, (6, 3))):
        arrays = read_imagefolder(root)
        assert (len(arrays.train), len(arrays.test)) == sizes


@pytest.mark.parametrize(
    ("name", "rows", "why"),
    [
        (
            "splits.csv",
            whole_table(lambda i: "test" if i < 5 else "train"),
            "names 0 of 40 images",
        ),
        (
            "splits.csv",
            ["owl/owl0.png,train,x", "owl/owl1.png,test"],
            "cannot be read: line 2 has",
        ),
        ("labels.csv", ["owl0.tif,big", "wren1.tif,small"], "names 0 of 40 images"),
        ("labels.csv", ["seen at noon,big", "seen at night,small"], "names 0 of 40 images"),
    ],
)
def test_a_table_that_could_say_something_and_does_not_is_named(name, rows, why, tmp_path):
    root = kept(tmp_path / "data", suffix="jpg" if "0 of" in why else "png")
    if name == "splits.csv" and "0 of" in why:
        rows = [row.replace(".png", ".tiff") for row in rows]
    column = "split" if name == "splits.csv" else "label"
    table(root, f"file,{column}", *rows, name=name)
    (note,) = (one for one in read_imagefolder(root).notes if name in one)
    assert note.startswith(f"{name} {why}")
    assert note.endswith(", so it is not used")


def test_a_column_called_split_in_four_words_of_its_own_is_refused(tmp_path):
    root = numbered(tmp_path / "data", 16)
    words = ("study", "check", "study", "final", "spare")
    table(root, "file,label,split", *(f"{i}.png,{'ab'[i % 2]},{words[i % 5]}" for i in range(16)))
    with pytest.raises(InputError, match="has the words check, final, spare, study, and not all"):
        read_imagefolder(root)
    table(root, "file,label,split", *(f"{i}.png,{'ab'[i % 2]},fold{i % 4}" for i in range(16)))
    assert len(read_imagefolder(root).train) == 16


def test_classes_that_are_divided_by_their_names_are_a_question(tmp_path):
    root = tree(tmp_path / "data", ("owl-train", "owl-val", "wren_train", "wren_val", "rook"))
    with pytest.raises(
        InputError, match="are owl-train, owl-val two classes, or the parts of one"
    ):
        read_imagefolder(root)


def test_names_of_files_with_parts_in_them_are_said(tmp_path):
    for k, bird in enumerate(("owl", "wren")):
        for i in range(8):
            save(
                tmp_path / "data" / bird / f"{i:03}_{'eval' if i > 5 else 'training'}.png",
                picture(k),
            )
    (note,) = (one for one in read_imagefolder(tmp_path / "data").notes if "of parts" in one)
    assert "owl/000_training.png" in note
    assert "owl/006_eval.png" in note
    save(tmp_path / "data" / "owl" / "one.png")
    assert not any("of parts" in one for one in read_imagefolder(tmp_path / "data").notes)


def test_a_table_with_an_image_in_two_parts_is_named_alone(tmp_path):
    root = tree(tmp_path / "data", ("a", "b"))
    rows = [
        f"{kind}/{kind}_{i}.png,{part}"
        for kind in "ab"
        for i in range(6)
        for part in ("train", "test")
    ]
    table(root, "file,grp", *rows, name="folds.csv")
    with pytest.raises(
        InputError, match=r"folds.csv has a/a_0.png among the .* write one row for"
    ):
        read_imagefolder(root)


@pytest.mark.parametrize("column", ["subset", "usage", "partition"])
def test_kinds_of_rows_are_no_parts(column, tmp_path):
    root = numbered(tmp_path / "data", 16)
    words = ("food", "cloth", "rope", "paper")
    table(
        root,
        f"file,label,{column}",
        *(f"{i}.png,{'ab'[i % 2]},{words[i // 4]}" for i in range(16)),
    )
    assert len(read_imagefolder(root).train) == 16


def test_bare_numbers_of_other_images_are_no_part(tmp_path):
    root = numbered(tmp_path / "data", 10)
    table(root, "id,label", *(f"{i},{'ab'[i % 2]}" for i in range(10)), name="train.csv")
    table(root, "id,label", *(f"{i},{'ab'[i % 2]}" for i in range(9, 60)), name="test.csv")
    arrays = read_imagefolder(root)
    assert (len(arrays.train), len(arrays.test)) == (10, 0)


def test_tables_of_the_parts_that_agree_with_the_folders_are_no_news(tmp_path):
    folders = [f"{part}/{kind}" for part in ("train", "val", "test") for kind in ("cat", "dog")]
    root = tree(tmp_path / "data", folders, 4)
    for part in ("train", "val", "test"):
        rows = [
            f"{part}/{kind}/{part}_{kind}_{i}.png,{kind}"
            for kind in ("cat", "dog")
            for i in range(4)
        ]
        table(root, "file,label", *rows, name=f"{part}.csv")
    assert not any(".csv" in note for note in read_imagefolder(root).notes)


def test_tables_in_the_folder_of_a_part_and_those_with_names_in_others_are_said(tmp_path):
    root = tree(tmp_path / "data", ("train/cat", "train/dog", "test/cat", "test/dog"))
    rows = [f"train_{kind}_{i}.png,{kind}{i // 2}" for kind in ("cat", "dog") for i in range(6)]
    table(root, "file,patient", *rows, name="train/meta.csv")
    (root / "train" / "labels.xlsx").write_bytes(b"0")
    for name in ("labels.csv", "train_labels.csv"):
        table(root, "file,label", "elsewhere_0.png,cat", name=name)
    notes = read_imagefolder(root).notes
    for begin in (
        "if the images with one patient in train/meta.csv",
        "train/labels.xlsx cannot be",
        "labels.csv names 0 of",
        "train_labels.csv names 0 of",
    ):
        assert sum(note.startswith(begin) for note in notes) == 1
