from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.trees import picture
from tunecnn.data.loading import load_dataset
from tunecnn.data.sheet import DataSheet


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_part_without_images_of_a_class_is_said(part):
    counts = {one: (4, 4, 4) for one in ("train", "validation", "test")}
    classes = ("cat", "dog", "emu")
    assert not list(DataSheet(counts).warnings(classes))
    (text,) = DataSheet(counts | {part: (0, 9, 0)}).warnings(classes)
    assert text.startswith(f"no {part} image is of cat, emu, so ")


def test_a_class_that_only_some_tables_have_keeps_its_number(tmp_path):
    def image(shade):
        stream = io.BytesIO()
        picture(shade).save(stream, "PNG")
        return {"bytes": stream.getvalue(), "path": None}

    for part, labels in (("train", [0, 1, 2] * 4), ("test", [1, 2] * 3)):
        rows = {"image": [image(label) for label in labels], "label": labels}
        pq.write_table(pa.table(rows), tmp_path / f"{part}-00000-of-1.parquet")
    dataset = load_dataset(f"huggingface:{tmp_path}")
    assert dataset.sheet.counts["test"] == (0, 3, 3)
    assert any(
        text.startswith("no test image is of ")
        for text in dataset.sheet.warnings(dataset.trial_data.classes)
    )
