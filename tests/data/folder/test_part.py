"""Which folders are the classes, where the folders in them may be."""

from __future__ import annotations

import pytest

from tests.support.trees import save, tree
from tunecnn.data.folder.reader import read_imagefolder
from tunecnn.data.loading import load_dataset
from tunecnn.data.options import ImageOptions
from tunecnn.errors import InputError
from tunecnn.study.journal import JOURNAL


@pytest.mark.parametrize(
    ("folders", "inner"),
    [
        (
            ["hospitalA/COVID19", "hospitalA/NORMAL", "hospitalB/COVID19", "hospitalB/NORMAL"],
            "COVID19, NORMAL",
        ),
        (["train/A/sick", "train/A/well", "train/B/sick", "train/B/well"], "sick, well"),
        (["p_01/benign", "p_02/benign", "p_02/malignant", "p_03/malignant"], "benign, malignant"),
        (["fold1/grade1", "fold1/grade2", "fold2/grade1", "fold2/grade2"], "grade1, grade2"),
        (["A/00", "A/01", "B/00", "B/01"], "00, 01"),
        (
            ["amazon/images/bike", "amazon/images/mug", "dslr/images/bike", "dslr/images/mug"],
            "bike, mug",
        ),
        (["part1/cat", "part1/dog", "part2/bird", "part2/fish"], "bird, cat, dog, fish"),
    ],
)
def test_folders_around_those_that_may_be_the_classes_are_a_question(folders, inner, tmp_path):
    root = tree(tmp_path / "t", folders, count=4)
    with pytest.raises(InputError, match=rf"are the classes the .*, or the \d in them, {inner}\?"):
        read_imagefolder(root)
    outer = read_imagefolder(root, ImageOptions(groups="folder")).classes
    assert set(outer) <= {one for folder in folders for one in folder.split("/")}


@pytest.mark.parametrize(
    "folders",
    [
        ["cat/2019", "cat/2020", "dog/2019", "dog/2020"],
        ["cat/camera1", "cat/camera2", "dog/camera1", "dog/camera2"],
        ["cat/images", "dog/images"],
        ["cat/siamese", "cat/persian", "dog/pug", "dog/husky"],
        ["cat/images_1", "cat/images_2", "dog/images_1", "dog/images_2"],
        ["grade1/left1", "grade1/left2", "grade2/left1", "grade2/left2"],
        ["A/user1", "A/user2", "B/user1", "B/user2"],
        ["0/writer_1", "0/writer_2", "1/writer_1", "1/writer_2"],
        ["cat/cam1", "cat/cam2", "cat/misc", "dog/cam1", "dog/cam2", "dog/misc"],
        ["n01440764/cam1", "n01440764/cam2", "n01443537/cam1", "n01443537/cam2"],
        ["BIRADS-1/case1", "BIRADS-1/case2", "BIRADS-2/case1", "BIRADS-2/case2"],
        ["score1/2019-01", "score1/2020-01", "score2/2019-01", "score2/2020-01"],
        ["cat_images/siamese", "cat_images/persian", "dog_images/pug", "dog_images/husky"],
        ["0/1", "0/2", "0/3", "1/4", "1/5", "2/6", "2/7"],
        ["toy/train", "toy/test", "toy/car", "book"],
    ],
)
def test_folders_in_the_classes_that_cannot_be_meant_are_none(folders, tmp_path):
    classes = read_imagefolder(tree(tmp_path / "t", folders, count=4)).classes
    assert classes == tuple(sorted({folder.partition("/")[0] for folder in folders}))


def test_a_copy_of_all_classes_in_one_of_them_is_no_class(tmp_path):
    root = tree(tmp_path / "t", ["cells/ill", "cells/well", "cells/cells/ill", "cells/cells/well"])
    with pytest.raises(
        InputError, match=r"class folder cells/cells has folders .* a copy of them"
    ):
        read_imagefolder(root)
    patients = [f"{one}/{patient}" for one in "123" for patient in "1234"]
    arrays = read_imagefolder(tree(tmp_path / "p", patients), ImageOptions(groups="folder"))
    assert arrays.classes == ("1", "2", "3")


def test_parts_in_the_classes_are_parts_whatever_lies_beside_them(tmp_path):
    root = tree(
        tmp_path / "t",
        [f"{one}/{part}_images" for one in ("cat", "dog") for part in ("train", "test")],
    )
    (root / "cat" / "readme.txt").write_text("about cats")
    (root / "meta").mkdir()
    (root / "meta" / "notes.txt").write_text("about both")
    arrays = read_imagefolder(root)
    assert (len(arrays.train), len(arrays.test)) == (12, 12)
    assert arrays.reading.left_out == {"outside the class folders": 2}
    assert arrays.classes == ("cat", "dog")
    save(root / "cat" / "extra" / "1.png")
    with pytest.raises(InputError, match="folders of parts, .* cat/extra is in none; move it"):
        read_imagefolder(root)
    tree(root, ["train/cat", "train/dog"])  # what lies beside folders of parts is no class
    assert len(read_imagefolder(root).train) == 12
    tree(tmp_path / "u", ["cat/train", "cat/test", "bird/train", "bird/test", "dog"])
    with pytest.raises(InputError, match=r"dog/dog_0.png is in none"):
        read_imagefolder(tmp_path / "u")


@pytest.mark.parametrize("name", ["Validierung", "holdout", "train_augmented", "test_hard"])
def test_a_folder_with_the_classes_that_is_no_part_is_named(name, tmp_path):
    folders = [f"{part}/{one}" for part in ("train", "test", name) for one in ("cat", "dog")]
    notes = read_imagefolder(tree(tmp_path / "t", folders)).notes
    assert any(note.startswith(f"{name}/ has the classes of train, but") for note in notes)


@pytest.mark.parametrize("parts", [("train", "test"), ("train",)])
def test_an_empty_folder_of_a_part_is_none(parts, tmp_path):
    root = tree(tmp_path / "t", [f"{part}/{one}" for part in parts for one in ("cat", "dog")])
    (root / "val").mkdir()
    arrays = read_imagefolder(root)
    assert arrays.validation is None
    assert "val/ is empty, so it is not used" in arrays.notes


def test_validation_images_without_labels_are_not_called_a_class(tmp_path):
    root = tree(tmp_path / "t", ["train/cat", "train/dog", "val/images"])
    with pytest.raises(InputError, match=r"the validation images have no labels: they are in ima"):
        read_imagefolder(root)


def test_masks_beside_the_folder_of_all_classes_are_no_class(tmp_path):
    folders = [f"{place}/{one}" for place in ("Images", "Annotation") for one in ("pug", "husky")]
    arrays = read_imagefolder(tree(tmp_path / "t", folders))
    assert arrays.classes == ("husky", "pug")
    assert len(arrays.train) == 12


def test_runs_of_tunecnn_among_the_images_are_no_images(tmp_path):
    root = tree(tmp_path / "t", ["cat", "dog"])
    save(root / "out" / "runs" / "one" / "figures" / "best.png")
    (root / "out" / "runs" / "one" / JOURNAL).write_text("{}")
    arrays = read_imagefolder(root)
    assert arrays.classes == ("cat", "dog")
    assert arrays.reading.left_out == {"of a run of tunecnn": 2}


@pytest.mark.parametrize("groups", ["folder", "table"])
def test_groups_of_one_image_each_are_refused(groups, tmp_path):
    root = tree(tmp_path / "t", ["cat", "dog"])
    if groups == "table":
        groups = str(tmp_path / "groups.csv")
        rows = [f"{file.name},{i}" for i, file in enumerate(sorted(root.rglob("*.png")))]
        (tmp_path / "groups.csv").write_text("\n".join(["file,group", *rows]))
    with pytest.raises(InputError, match="no two training images have the same group, so groups"):
        load_dataset(f"imagefolder:{root}", options=ImageOptions(groups=groups))


@pytest.mark.parametrize(
    "folders",
    [
        ["part_1", "part_2"],
        ["images_001", "images_002"],
        ["batch1", "batch2"],
        ["original_images", "cropped_images"],
        ["images", "thumbnails"],
        ["fold_0", "fold_1"],
    ],
)
def test_folders_whose_names_say_nothing_are_no_classes(folders, tmp_path):
    root = tree(tmp_path / "t", folders)
    with pytest.raises(
        InputError, match=r"are .* classes\? Their names do not say|two folders of"
    ):
        read_imagefolder(root)


def test_folders_of_parts_beside_other_images_are_no_class(tmp_path):
    folders = [f"data/{part}/{one}" for part in ("train", "test") for one in ("cat", "dog")]
    root = tree(tmp_path / "t", [*folders, "figures"])
    with pytest.raises(
        InputError, match=r"such as train and test, in data, and beside data .* give"
    ):
        read_imagefolder(root)
    assert read_imagefolder(root / "data").classes == ("cat", "dog")
    inside = [f"data/{one}/{part}_images" for part in ("train", "test") for one in ("cat", "dog")]
    with pytest.raises(InputError, match="and beside data .* figures; give the folder data"):
        read_imagefolder(tree(tmp_path / "v", [*inside, "figures"]))
    kinds = ["rail/train/steam", "rail/train/diesel", "road/car/old", "road/car/new"]
    assert read_imagefolder(tree(tmp_path / "w", kinds)).classes == ("rail", "road")
    flat = read_imagefolder(tree(tmp_path / "x", ["data/cat", "data/dog", "figures"]))
    assert "data is one class, with all that is in its folders cat, dog" in flat.notes
    with pytest.raises(
        InputError, match="in old/v1, and beside old .* in new; give the folder old"
    ):
        read_imagefolder(tree(tmp_path / "u", ["old/v1/train/a", "old/v1/train/b", "new"]))


def test_a_copy_of_all_classes_in_other_folders_is_a_question(tmp_path):
    folders = [f"{around}/{one}" for around in ("animals", "data/animals") for one in ("a", "b")]
    with pytest.raises(InputError, match="are the classes the 2 folders animals, data, or the"):
        read_imagefolder(tree(tmp_path / "t", folders))


def test_names_of_people_in_letters_are_no_classes(tmp_path):
    folders = ["A/A_subject1", "A/A_subject2", "B/B_subject1", "B/B_subject2"]
    assert read_imagefolder(tree(tmp_path / "t", folders)).classes == ("A", "B")


def test_valid_and_invalid_are_classes_and_lists_beside_a_train_are_no_labels(tmp_path):
    for opposite in ("invalid", "not_valid"):
        root = tree(tmp_path / opposite, ["valid", opposite])
        assert set(read_imagefolder(root).classes) == {"valid", opposite}
    root = tree(tmp_path / "t", ["bus", "car", "train"])
    (root / "test.txt").write_text("bus/bus_0.png\ncar/car_0.png\ntrain/train_0.png\n")
    assert len(read_imagefolder(root).test) == 3


@pytest.mark.parametrize(
    "folders", [["a/abbey", "a/attic", "b/bar"], ["0/0", "0/1", "1/0", "1/1"]]
)
def test_first_letters_and_hashes_around_the_images_are_a_question(folders, tmp_path):
    with pytest.raises(InputError, match="are the classes the 2 folders"):
        read_imagefolder(tree(tmp_path / "t", folders, count=4))


def test_folders_of_other_classes_in_the_classes_are_said(tmp_path):
    root = tree(tmp_path / "t", ["lung/aca", "lung/scc", "colon/polyp", "colon/normal"])
    arrays = read_imagefolder(root)
    assert arrays.classes == ("colon", "lung")
    assert (
        "the classes are colon, lung, and not the 4 folders in them, aca, normal, polyp, scc"
        in arrays.notes
    )


def test_a_table_that_may_have_the_labels_of_the_images_in_folders_is_said(tmp_path):
    root = tree(tmp_path / "t", ["north", "south"])
    names = [f"{one}_{i}.png" for one in ("north", "south") for i in range(6)]
    rows = [f"{name},{['larch', 'pine'][i % 2]}" for i, name in enumerate(names)]
    (root / "trees.csv").write_text("\n".join(["file,tree", *rows]))
    said = "trees.csv names the images, but has no column called label or class, so the folders"
    assert any(note.startswith(said) for note in read_imagefolder(root).notes)
    rows = [f"{name},{i}" for i, name in enumerate(names)]
    (root / "trees.csv").write_text("\n".join(["file,height", *rows]))
    assert not any(note.startswith(said) for note in read_imagefolder(root).notes)


@pytest.mark.parametrize("name", ["test", "validation", "test_set", "val-images"])
def test_a_part_beside_classes_is_none_of_them(name, tmp_path):
    with pytest.raises(InputError, match="has (test|validation) but no train folder"):
        read_imagefolder(tree(tmp_path / "t", ["cat", "dog", name]))


def test_folders_of_patients_in_the_classes_may_be_groups_and_that_is_said(tmp_path):
    folders = [f"{kind}/patient_{i:02}" for kind in ("ill", "well") for i in range(3)]
    root = tree(tmp_path / "data", folders, 2)
    (note,) = (one for one in read_imagefolder(root).notes if "belong together" in one)
    assert "a folder such as patient_00 belong together, say so: groups: folder" in note


@pytest.mark.parametrize("name", ["paper.docx", "net.onnx", "more.7z"])
def test_what_never_is_an_image_hides_no_classes(name, tmp_path):
    root = tree(tmp_path / "data", ("pets/cat", "pets/dog"))
    (root / name).write_bytes(b"0")
    assert read_imagefolder(root).classes == ("cat", "dog")


def test_archives_inside_the_folder_are_to_be_unpacked(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    (root / "images.zip").write_bytes(b"0")
    with pytest.raises(InputError, match="archives inside a folder are not read: unpack them"):
        read_imagefolder(root)
