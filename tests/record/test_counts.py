"""Counts on columns are those of instances, one by one."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotate.data.selection import kept_instances
from annotate.data.types import ClassList, ClassSpec
from annotate.record.counts import count_records, counting
from tests.exporters import runs

CLASSES = ClassList(
    (
        ClassSpec("any", ("any",)),
        ClassSpec("flat", ("flat",), min_aspect=1.5),
        ClassSpec("tall", ("tall",), max_aspect=0.8, min_area=40),
        ClassSpec("sure", ("sure",), threshold=0.7),
    )
)


def test_what_counts_is_the_same_on_columns_and_one_by_one(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for n in range(12):
        found = []
        for k in range(8):
            mask = np.zeros((runs.H, runs.W), bool)
            w, h = rng.integers(2, 20, 2)
            mask[:h, :w] = True
            found.append(runs.instance(mask, f"{n}:{k}", int(rng.integers(4)), float(rng.random())))
        rows.append(runs.record(f"{n:02d}.png", found))
    run = runs.make_run(tmp_path, rows, CLASSES)
    one_by_one = {i.instance_id for row in run.frames() for i in kept_instances(row, CLASSES, 0.3)}
    on_columns = set()
    for batch in run.table().to_batches(columns=["instances"]):
        flat = pc.list_flatten(batch["instances"])
        ids = flat.field("class_id").to_numpy(zero_copy_only=False)
        kept = flat.filter(pa.array(counting(flat, ids, CLASSES, 0.3)))
        on_columns |= set(kept.field("instance_id").to_pylist())
    assert on_columns == one_by_one and 20 < len(on_columns) < 80
    counts = count_records(run, 0.3)
    assert sum(counts.kept.values()) == len(one_by_one)
    assert counts.wrong_size["flat"] > 0 and counts.wrong_size["tall"] > 0
    assert counts.wrong_size["any"] == 0
