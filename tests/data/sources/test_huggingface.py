from __future__ import annotations

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tunecnn.data.loading import load_dataset, read_arrays
from tunecnn.data.options import ImageOptions
from tunecnn.errors import InputError

RANDOM = np.random.default_rng(0)


def png(height: int = 8, width: int = 8) -> bytes:
    stream = io.BytesIO()
    pixels = RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def table(images: list[bytes], labels: list, names: list[str] | None = None) -> pa.Table:
    made = pa.table({"image": [{"bytes": one, "path": None} for one in images], "label": labels})
    if names is not None:
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        info = json.dumps({"info": {"features": features}})
        made = made.replace_schema_metadata({"huggingface": info})
    return made


def test_parquet_shards_are_read_by_split_with_their_class_names(tmp_path):
    shards = [[png() for _ in range(6)] for _ in range(3)]
    for number, shard in enumerate(shards[:2]):
        pq.write_table(
            table(shard, [0, 1] * 3, ["cat", "dog"]), tmp_path / f"train-0000{number}-of-2.parquet"
        )
    pq.write_table(table(shards[2], [1, 0] * 3, ["cat", "dog"]), tmp_path / "test-0-of-1.parquet")
    arrays = read_arrays(f"huggingface:{tmp_path}")
    assert arrays.classes == ("cat", "dog")
    assert [len(part) for part in arrays.parts.values()] == [12, 6]
    expected = np.stack([np.asarray(Image.open(io.BytesIO(one))) for one in sum(shards[:2], [])])
    assert np.array_equal(arrays.train.pixels, expected)
    assert arrays.test.labels.tolist() == [1, 0] * 3


def test_the_arrow_files_of_save_to_disk_are_read(tmp_path):
    (tmp_path / "train").mkdir()
    made = table([png() for _ in range(10)], ["a", "b"] * 5)
    with pa.ipc.new_stream(tmp_path / "train" / "data-00000-of-00001.arrow", made.schema) as out:
        out.write_table(made)
    data = load_dataset(f"huggingface:{tmp_path}")
    assert data.trial_data.classes == ("a", "b")
    assert any("fixed seed" in note for note in data.sheet.notes)


@pytest.mark.parametrize(
    ("second", "names", "message"),
    [
        (
            "b/train-0.parquet",
            ["cat", "dog"],
            "train rows in a/ and in b/: several configurations",
        ),
        ("a/train-1.parquet", ["dog", "cat"], "label 0 is cat in one and dog in another"),
        ("a/test-0.parquet", ["cat", "eel"], "label 1 is dog in one and eel in another"),
        (
            "a/test-0.parquet",
            ["cat", "dog", "eel"],
            "label 2 is not there in one and eel in another",
        ),
        (
            "a/test-0.parquet",
            ["cat", "dog", "none"],
            "label 2 is not there in one and none in another",
        ),
    ],
)
def test_configurations_with_other_classes_are_not_mixed(second, names, message, tmp_path):
    for name, classes in (("a/train-0.parquet", ["cat", "dog"]), (second, names)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pq.write_table(table([png() for _ in range(4)], [0, 1] * 2, classes), tmp_path / name)
    with pytest.raises(InputError, match=message):
        read_arrays(f"huggingface:{tmp_path}")


def test_shards_of_one_split_may_lie_in_folders(tmp_path):
    for shard in range(2):
        folder = tmp_path / "train" / f"shard={shard}"
        folder.mkdir(parents=True)
        pq.write_table(table([png() for _ in range(4)], [0, 1] * 2), folder / "part.parquet")
    assert len(read_arrays(f"huggingface:{tmp_path}").train) == 8


def test_columns_of_lists_are_refused(tmp_path):
    images = [{"bytes": png(), "path": None} for _ in range(2)]
    for column, values in (
        ("label", {"image": images, "label": [[0], [0, 1]]}),
        ("image", {"image": [images, images], "label": [0, 1]}),
    ):
        pq.write_table(pa.table(values), tmp_path / "train-0.parquet")
        with pytest.raises(InputError, match=f"the column {column} has lists"):
            read_arrays(f"huggingface:{tmp_path}")


def test_mixed_sizes_need_a_size(tmp_path):
    made = table([png(8 + i % 2, 9) for i in range(8)], [0, 1, 1, 0] * 2)
    pq.write_table(made, tmp_path / "train.parquet")
    with pytest.raises(InputError, match="2 different sizes; give one: size: 32"):
        read_arrays(f"huggingface:{tmp_path}")
    arrays = read_arrays(f"huggingface:{tmp_path}", options=ImageOptions(size=4))
    assert arrays.train.pixels.shape == (8, 4, 4, 3)


def test_bad_rows_are_all_named_or_left_out(tmp_path):
    images = [png() for _ in range(6)]
    images[2], images[5] = images[2][:40], b"text"
    pq.write_table(table(images, [0, 1, 0, 1, None, 1]), tmp_path / "train.parquet")
    with pytest.raises(InputError) as caught:
        read_arrays(f"huggingface:{tmp_path}")
    for part in ("3 rows", "train[2]", "train[4]: it has no label", "train[5]", "--skip-bad"):
        assert part in str(caught.value)
    arrays = read_arrays(f"huggingface:{tmp_path}", options=ImageOptions(skip_bad=True))
    assert len(arrays.train) == 3
    assert arrays.reading is not None
    assert arrays.reading.left_out == {"cannot be read (--skip-bad)": 3}


def test_test_images_without_labels_are_left_out(tmp_path):
    pq.write_table(table([png() for _ in range(10)], [0, 1] * 5), tmp_path / "train.parquet")
    pq.write_table(table([png() for _ in range(4)], [-1] * 4), tmp_path / "test.parquet")
    data = load_dataset(f"huggingface:{tmp_path}")
    assert data.sheet.left_out == {"test image without a label": 4}
    assert len(data.test) == 2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "has no .parquet or .arrow files"),
        (("notes.parquet", "more.parquet"), "has no training split among more.parquet"),
    ],
)
def test_folders_without_a_training_split_are_refused(names, message, tmp_path):
    for name in names:
        pq.write_table(table([png()], [0]), tmp_path / name)
    with pytest.raises(InputError, match=message):
        read_arrays(f"huggingface:{tmp_path}")


def test_other_columns_and_damaged_files_are_named(tmp_path):
    pq.write_table(pa.table({"text": ["a"], "label": [0]}), tmp_path / "train.parquet")
    with pytest.raises(InputError, match="has the columns text, label; an image"):
        read_arrays(f"huggingface:{tmp_path}")
    (tmp_path / "train.parquet").write_bytes(b"PAR1 half")
    with pytest.raises(InputError, match="train.parquet cannot be read"):
        read_arrays(f"huggingface:{tmp_path}")


@pytest.mark.parametrize("is_listed", [True, False])
def test_what_datasets_keeps_beside_the_data_is_not_read(is_listed, tmp_path):
    made = table([png() for _ in range(4)], ["a", "b"] * 2)
    indices = pa.table({"indices": [0, 2]})
    for name, content in (
        ("data-00000-of-00001", made),
        ("cache-5f3a", made.slice(0, 2)),
        ("cache-77aa", indices),
    ):
        with pa.ipc.new_stream(tmp_path / f"{name}.arrow", content.schema) as out:
            out.write_table(content)
    if is_listed:
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
        (tmp_path / "state.json").write_text(json.dumps(state))
    arrays = read_arrays(f"huggingface:{tmp_path}")
    assert len(arrays.train) == 4
    assert len([why for why in arrays.reading.left_out if why.startswith("cache-")]) == 2


def test_splits_that_begin_with_one_word_are_not_joined(tmp_path):
    for name in ("train", "train_small", "test"):
        rows = table([png() for _ in range(4)], [0, 1] * 2)
        pq.write_table(rows, tmp_path / f"{name}-00000-of-00001.parquet")
    with pytest.raises(
        InputError, match="two splits of train images, train and train_small; move"
    ):
        read_arrays(f"huggingface:{tmp_path}")


def test_shards_without_a_split_are_one_table(tmp_path):
    for number in range(2):
        made = table([png() for _ in range(4)], [0, 1] * 2)
        with (
            pa.OSFile(str(tmp_path / f"data-0000{number}-of-00002.arrow"), "wb") as sink,
            pa.ipc.new_stream(sink, made.schema) as writer,
        ):
            writer.write_table(made)
    assert len(read_arrays(f"huggingface:{tmp_path}").train) == 8


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("/home/me/1.png", r"its image is the text '/home/me/1.png', which is no path in"),
        ("1.png", r"its image '1.png' cannot be read: No such file"),
        (None, "its image is missing"),
    ],
)
def test_images_that_are_paths_are_read_below_the_folder_or_named(value, message, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png())
    rows = ["a.png", "b.png"] * 4
    file = tmp_path / "train-0-of-1.parquet"
    pq.write_table(pa.table({"image": rows, "label": [0, 1] * 4}), file)
    for path in (tmp_path, file):
        assert len(read_arrays(f"huggingface:{path}").train) == 8
    in_structs = [{"bytes": None, "path": one} for one in [*rows[:7], value]]
    pq.write_table(pa.table({"image": in_structs, "label": [0, 1] * 4}), file)
    with pytest.raises(InputError, match=rf"1 rows cannot be used: train\[7\]: {message}"):
        read_arrays(f"huggingface:{tmp_path}")


@pytest.mark.parametrize(("white", "scale"), [(4095, 4095), (65535, 65535)])
def test_a_scale_is_applied_once(white, scale, tmp_path):
    streams = [io.BytesIO() for _ in range(10)]
    for number, stream in enumerate(streams):
        values = np.full((4, 4), white * number // 9, np.uint16)
        Image.fromarray(values).save(stream, "PNG")
    made = table([one.getvalue() for one in streams], [0, 1] * 5)
    pq.write_table(made, tmp_path / "train.parquet")
    arrays = read_arrays(f"huggingface:{tmp_path}", options=ImageOptions(scale=scale))
    found = arrays.train.pixels[:, 0, 0, 0].tolist()
    assert found == [round(255 * (white * i // 9) / white) for i in range(10)]


def test_a_split_may_follow_the_name_of_the_data_set(tmp_path):
    for split, count in (("train", 8), ("test", 4)):
        made = table([png() for _ in range(count)], [0, 1] * (count // 2))
        with pa.ipc.new_stream(tmp_path / f"mnist-{split}.arrow", made.schema) as out:
            out.write_table(made)
    arrays = read_arrays(f"huggingface:{tmp_path}")
    assert [len(part) for part in arrays.parts.values()] == [8, 4]


def test_a_scale_by_which_all_images_are_black_is_refused(tmp_path):
    streams = [io.BytesIO() for _ in range(10)]
    for number, stream in enumerate(streams):
        Image.fromarray(np.full((4, 4), 40 * number, np.uint16)).save(stream, "PNG")
    made = table([one.getvalue() for one in streams], [0, 1] * 5)
    pq.write_table(made, tmp_path / "train.parquet")
    with pytest.raises(InputError, match="with scale: 65535 all images are almost black"):
        read_arrays(f"huggingface:{tmp_path}", options=ImageOptions(scale=65535))


def test_words_in_names_count_only_where_no_split_is_named(tmp_path):
    for name, count in (("train-0-of-1", 8), ("test-0-of-1", 4), ("extra_train-0-of-1", 6)):
        pq.write_table(
            table([png() for _ in range(count)], [0, 1] * (count // 2)),
            tmp_path / f"{name}.parquet",
        )
    arrays = read_arrays(f"huggingface:{tmp_path}")
    assert [len(part) for part in arrays.parts.values()] == [8, 4]
    assert "rows of extra_train-0-of-1.parquet, which names no split" in arrays.reading.left_out


@pytest.mark.parametrize("column", ["split", "Subset"])
def test_a_column_of_parts_divides_rows_without_a_split_in_the_name(column, tmp_path):
    made = table([png() for _ in range(30)], [0, 1] * 15)
    words = ["train"] * 20 + ["test"] * 10
    pq.write_table(made.append_column(column, [words]), tmp_path / "all.parquet")
    arrays = read_arrays(f"huggingface:{tmp_path}")
    assert [len(part) for part in arrays.parts.values()] == [20, 10]
    assert arrays.notes == (f"the parts are those of the column {column}",)
    pq.write_table(made.append_column(column, [["in", "out"] * 15]), tmp_path / "all.parquet")
    with pytest.raises(
        InputError, match=f"its column {column} has the words in, out, and not all"
    ):
        read_arrays(f"huggingface:{tmp_path}")
    pq.write_table(made.append_column(column, [list(range(5)) * 6]), tmp_path / "all.parquet")
    assert len(read_arrays(f"huggingface:{tmp_path}").train) == 30  # folds


def test_of_two_columns_of_labels_the_one_that_is_used_is_named(tmp_path):
    made = table([png() for _ in range(8)], [0, 1] * 4)
    pq.write_table(made.append_column("class", [["a", "b"] * 4]), tmp_path / "train.parquet")
    assert read_arrays(f"huggingface:{tmp_path}").notes == (
        "the labels are those of the column label, among label, class",
    )


def test_a_test_split_without_a_column_of_labels_is_left_out(tmp_path):
    pq.write_table(table([png() for _ in range(8)], [0, 1] * 4), tmp_path / "train.parquet")
    unlabelled = table([png() for _ in range(4)], [0] * 4).drop_columns(["label"])
    pq.write_table(unlabelled, tmp_path / "test.parquet")
    arrays = read_arrays(f"huggingface:{tmp_path}")
    assert (len(arrays.train), len(arrays.test)) == (8, 0)
    assert arrays.reading.left_out["test image without a label"] == 4


@pytest.mark.parametrize(
    ("words", "classes"),
    [(["2", "10"], ("2", "10")), (["test", "a b"], ("a b", "test")), (["1", "01"], ("01", "1"))],
)
def test_folders_of_a_partitioned_table_are_columns(words, classes, tmp_path):
    for split, count in (("train", 6), ("test", 2)):
        for word in words:
            made = table([png() for _ in range(count)], [0] * count).drop_columns(["label"])
            folder = tmp_path / f"split={split}" / f"label={word.replace(' ', '%20')}"
            folder.mkdir(parents=True)
            pq.write_table(made, folder / "part-0-4f1c.c000.snappy.parquet")
    arrays = read_arrays(f"huggingface:{tmp_path}")
    assert arrays.classes == classes
    for part, count in (("train", 6), ("test", 2)):
        in_order = sorted(words, key=lambda word: f"label={word.replace(' ', '%20')}")
        labels = [classes.index(word) for word in in_order for _ in range(count)]
        assert arrays.parts[part].labels.tolist() == labels


def test_shards_of_a_partitioned_table_need_no_split(tmp_path):
    for label in (0, 1):
        made = table([png() for _ in range(5)], [label] * 5).drop_columns(["label"])
        (tmp_path / f"label={label}").mkdir()
        pq.write_table(made, tmp_path / f"label={label}" / "a1b2c3.parquet")
    train = read_arrays(f"huggingface:{tmp_path}").train
    assert train.labels.tolist() == [0] * 5 + [1] * 5


def test_other_folders_with_an_equals_sign_are_no_columns(tmp_path):
    for fold in (0, 1):
        folder = tmp_path / "folds" / f"fold={fold}"
        folder.mkdir(parents=True)
        for part in ("train", "test"):
            pq.write_table(table([png()] * 4, [0, 1] * 2), folder / f"{part}.parquet")
    with pytest.raises(InputError, match="several configurations; give the folder of one"):
        read_arrays(f"huggingface:{tmp_path / 'folds'}")
    folder = tmp_path / "rates" / "lr=0.1"
    folder.mkdir(parents=True)
    for part in ("train", "test"):
        made = table([png()] * 4, [0, 1] * 2)
        with pa.ipc.new_stream(folder / f"mnist-{part}.arrow", made.schema) as out:
            out.write_table(made)
    arrays = read_arrays(f"huggingface:{tmp_path / 'rates'}")
    assert [len(part) for part in arrays.parts.values()] == [4, 4]


@pytest.mark.parametrize(
    ("column", "values", "counts"),
    [
        ("is_train", [True] * 6 + [False] * 2, (6, 2)),
        ("is_test", [0] * 6 + [1] * 2, (6, 2)),
        ("dataset", ["train"] * 6 + ["test"] * 2, (6, 2)),
        ("source", ["web", "shop"] * 4, (8, 0)),
    ],
)
def test_a_column_that_divides_has_any_of_the_names_of_tables(column, values, counts, tmp_path):
    made = table([png() for _ in range(8)], [0, 1] * 4).append_column(column, pa.array(values))
    pq.write_table(made, tmp_path / "data.parquet")
    arrays = read_arrays(f"huggingface:{tmp_path}")
    assert (len(arrays.train), len(arrays.test)) == counts


def test_a_split_with_further_words_is_refused_as_in_a_table(tmp_path):
    words = pa.array(["train", "train", "val", "test", "extra"])
    made = table([png() for _ in range(5)], [0, 1, 0, 1, 0]).append_column("split", words)
    pq.write_table(made, tmp_path / "data.parquet")
    with pytest.raises(InputError, match="split has the words extra, test, train, val, and not"):
        read_arrays(f"huggingface:{tmp_path}")


def test_a_missing_shard_is_named(tmp_path):
    for number in (0, 2):
        file = tmp_path / f"train-{number:05}-of-00003.parquet"
        pq.write_table(table([png() for _ in range(4)], [0, 1, 0, 1]), file)
    with pytest.raises(InputError, match="train-00001-of-00003 is missing; get it"):
        read_arrays(f"huggingface:{tmp_path}")


def test_columns_may_be_written_in_capitals(tmp_path):
    for part in ("train", "test"):
        made = table([png() for _ in range(8)], [0, 1] * 4).rename_columns(["Image", "Label"])
        pq.write_table(made, tmp_path / f"{part}.parquet")
    arrays = read_arrays(f"huggingface:{tmp_path}")
    assert (len(arrays.train), len(arrays.test)) == (8, 8)


def test_a_column_divides_all_shards_also_where_it_has_one_word_only(tmp_path):
    for number, words in enumerate((["train"] * 6, ["train"] * 3 + ["test"] * 3, ["test"] * 6)):
        made = table([png() for _ in range(6)], [0, 1] * 3).append_column("split", pa.array(words))
        pq.write_table(made, tmp_path / f"data-{number:05}-of-00003.parquet")
    arrays = read_arrays(f"huggingface:{tmp_path}")
    assert (len(arrays.train), len(arrays.test)) == (9, 9)


def test_columns_that_divide_in_different_ways_are_refused(tmp_path):
    made = table([png() for _ in range(6)], [0, 1] * 3)
    made = made.append_column("is_valid", pa.array([True, *[False] * 5]))
    made = made.append_column("split", pa.array(["train"] * 4 + ["test"] * 2))
    pq.write_table(made, tmp_path / "data.parquet")
    with pytest.raises(InputError, match="is_valid and split divide the rows in different ways"):
        read_arrays(f"huggingface:{tmp_path}")
    made = table([png() for _ in range(6)], [0, 1] * 3)
    made = made.append_column("is_valid", pa.array([True] * 5 + [False]))
    pq.write_table(made, tmp_path / "data.parquet")
    with pytest.raises(InputError, match="is_valid makes 5 rows validate, and 1 train: rename it"):
        read_arrays(f"huggingface:{tmp_path}")


def test_words_of_several_labels_and_of_none_are_no_classes(tmp_path):
    labels = ["oak", "elm", "oak|elm"] * 4
    pq.write_table(table([png() for _ in labels], labels), tmp_path / "train.parquet")
    with pytest.raises(InputError, match=r"the label oak\|elm is several in one, elm, oak, which"):
        read_arrays(f"huggingface:{tmp_path}")
    labels = ["oak", "elm", "NaN", ""] * 3
    pq.write_table(table([png() for _ in labels], labels), tmp_path / "train.parquet")
    with pytest.raises(InputError, match="6 rows cannot be used: .*it has no label"):
        read_arrays(f"huggingface:{tmp_path}")


def test_of_two_columns_of_images_the_one_that_is_used_is_named(tmp_path):
    """As of a picture and its mask, or of the two pictures of a pair."""
    images = [{"bytes": png(), "path": None} for _ in range(10)]
    rows = {"image": images, "mask": images, "label": [0, 1] * 5}
    pq.write_table(pa.table(rows), tmp_path / "train.parquet")
    notes = read_arrays(f"huggingface:{tmp_path}").notes
    assert "the images are those of the column image, among image, mask" in notes
