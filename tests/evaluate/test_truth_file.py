"""Truth is data of anybody's: what is wrong with it is one line with its place, never a hang."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from annotate.data.types import FrameRecord
from annotate.errors import ConfigError
from annotate.evaluate.detection import compare
from annotate.evaluate.truth import Truth, mask_of, read_truth
from annotate.record import parquet
from annotate.record.run_folder import Run
from tests.evaluate.squares import CLASSES, H, W, still
from tests.evaluate.squares import square as drawn

RING = [5, 5, 25, 5, 25, 25, 5, 25]
COUNTS = drawn(5, 5).mask.counts


def instances() -> dict[str, Any]:
    """A truth with every form that objects have."""
    size = {"width": W, "height": H}
    runs = {"size": [H, W], "counts": COUNTS}
    whole = {"size": [H, W], "counts": [H * W - 10, 10]}
    return {
        "images": [
            {"id": 1, "file_name": "a.png", **size},
            {"id": 2, "file_name": "v/1.png", "video_id": 1, "frame_index": 0, **size},
        ],
        "videos": [{"id": 1, "name": "v"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [RING], "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "area": 12.0},
            {"id": 3, "image_id": 2, "category_id": 1, "segmentation": runs, "track_id": 7},
            {"id": 4, "image_id": 2, "category_id": 1, "segmentation": whole, "track_id": 8},
        ],
        "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "bus"}],
    }


def by_video() -> dict[str, Any]:
    runs = {"size": [H, W], "counts": COUNTS}
    names = ["v/1.png", "v/2.png"]
    return {
        "videos": [{"id": 1, "width": W, "height": H, "length": 2, "file_names": names}],
        "annotations": [
            {
                "id": 1, "video_id": 1, "category_id": 1, "iscrowd": 0, "areas": [400, None],
                "segmentations": [runs, None], "bboxes": [[5, 5, 20, 20], None],
            }
        ],
        "categories": [{"id": 1, "name": "car"}],
    }  # fmt: skip


def read(tmp_path: Path, content: Any) -> Truth:
    path = tmp_path / "t.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_truth(path, threshold=0.3)


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a document, those of lists and mappings included."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [above] * bool(above) + [p for key, v in inner for p in places(v, (*above, key))]


ODD: list[Any] = [
    None, True, -1, 0, 3.5, 1e300, float("nan"), float("inf"), 10**40, "", "x", "\0", "\x1b[2J\n",
    "n" * 5000, "../x", [], [[]], [1], [[1, 2, 3]], ["x"], [None, None], {}, {"x": 1},
    {"size": [H, W], "counts": "0" * 50}, {"size": [1, 1], "counts": COUNTS},
    {"size": [H, W], "counts": [5]}, [1, 2, 3, 4, 5, 6], [-5, 0, 1e8, 0, 1, 1],
]  # fmt: skip


@pytest.mark.parametrize("make", [instances, by_video])
@pytest.mark.timeout(120)  # what loops never ends
def test_whatever_stands_where_it_is_read_or_refused_in_one_line(tmp_path, make):
    run = Run.start(tmp_path / "run", tmp_path, CLASSES, {})
    clip = FrameRecord("v#000000", "v", "video", 0, 0.0, W, H, "ok", "", (drawn(5, 5),))
    parquet.write_part(run.records_dir, "part-0", [still("a.png", drawn(5, 5)), clip])
    for name in ("1.png", "2.png"):
        (tmp_path / "v").mkdir(exist_ok=True)
        (tmp_path / "v" / name).touch()
    refused = 0
    for place in places(make()):
        for odd in [*ODD, ...]:  # ...: it is not there at all
            content = copy.deepcopy(make())
            at = content
            for key in place[:-1]:
                at = at[key]
            if odd is ...:
                del at[place[-1]]
            else:
                at[place[-1]] = odd
            try:
                truth = read(tmp_path, content)
                for objects in truth.objects.values():
                    for o in objects:
                        assert len(o["bbox"]) == 4 and o["area"] >= 0
                        if "segmentation" in o:
                            assert mask_of(o).decode().shape == tuple(o["segmentation"]["size"])
                compare(run, truth)
            except ConfigError as error:
                refused += 1
                said = str(error)
                assert str(tmp_path / "t.json") in said and said.isprintable(), said
                assert len(said) < 600
    assert refused > 300


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"counts": "0"}, r"annotations\[2\]: run lengths sum to 0 px, not 60 x 80"),
        ({"counts": "n" * 9 + "0"}, "end within a number"),
        ({"counts": "nnn"}, "end within a number"),
        ({"counts": "é"}, "stands for none"),
        ({"counts": [4801]}, "sum to 4801 px"),
        ({"counts": [-1, 4801]}, "no whole numbers"),
        ({"size": [61, 80]}, "are of 80x61, .* is 80x60"),
    ],
)
def test_run_lengths_fill_their_frame(tmp_path, change, says):
    content = instances()
    content["annotations"][2]["segmentation"].update(change)
    with pytest.raises(ConfigError, match=says):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("category_id", 9, r"annotations\[0\]: categories has no id '9'"),
        ("image_id", 9, r"annotations\[0\]: images has no id '9'"),
        ("image_id", [1], "neither a number nor a text"),
        ("segmentation", [RING[:-1]], "a polygon has 7 numbers"),
        ("segmentation", RING[:-1], "a polygon has 7 numbers"),
        ("segmentation", [[*RING, float("nan"), 1]], "holds nan"),
        ("segmentation", [[0, 0, 1e8, 0, 0, 9]], "leaves its picture of 80x60 by far"),
        ("segmentation", [[0, 0, 80, 60] * 5000], "an outline of .* px is no object's"),
        ("segmentation", "abc", "neither polygons nor run lengths"),
        ("bbox", [1, 2, 3], "no x, y, width, height"),
        ("bbox", [1, 2, -3, 4], "no x, y, width, height"),
        ("bbox", [1, float("inf"), 3, 4], "holds inf"),
        ("area", -1, "less than nothing"),
        ("iscrowd", 2, "neither 0 nor 1"),
        ("id", 2, r"annotations\[1\]: id '2' stands twice, see annotations\[0\]"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path, key, value, says):
    content = instances()
    content["annotations"][0][key] = value
    with pytest.raises(ConfigError, match=says):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("of", "says"),
    [
        ({"id": 1, "file_name": "b.png"}, r"images\[2\]: id '1' stands twice, see images\[0\]"),
        ({"id": "1", "file_name": "b.png"}, r"images\[2\]: id '1' stands twice"),
        ({"id": 3, "file_name": "a.png"}, r"images\[2\]: 'a.png' stands twice, see images\[0\]"),
        ({"id": 3, "file_name": ".\\a.png"}, r"images\[2\]: 'a.png' stands twice"),
        ({"id": 3}, r"images\[2\]: no 'file_name'"),
        ({"id": 3, "file_name": "x.png", "width": 99999, "height": 99999}, "no picture is"),
    ],
)
def test_ids_and_files_stand_once(tmp_path, of, says):
    content = instances()
    content["images"].append(of)
    with pytest.raises(ConfigError, match=says):
        read(tmp_path, content)


def test_a_category_that_stands_twice_is_named(tmp_path, caplog):
    content = instances()
    content["categories"].append({"id": 1, "name": "tram"})
    with pytest.raises(ConfigError, match=r"categories\[2\]: id '1' stands twice"):
        read(tmp_path, content)
    content["categories"][2] = {"id": 9, "name": "car"}
    assert read(tmp_path, content).classes == {"car": 1, "bus": 2}
    assert "'car' stands twice" in caplog.text


def test_two_annotators_are_noticed(tmp_path, caplog):
    content = instances()
    content["annotations"] += [a | {"id": a["id"] + 10} for a in content["annotations"]]
    read(tmp_path, content)
    assert "4 objects stand twice (same image, class and outline)" in caplog.text


def test_masks_beside_boxes_alone_are_said(tmp_path, caplog):
    assert not read(tmp_path, instances()).has_masks
    assert "1 of 4 objects have no mask: all are judged by their boxes alone" in caplog.text


def test_what_other_tools_write_is_understood(tmp_path):
    plain = instances()
    plain["annotations"] = plain["annotations"][:1] + plain["annotations"][2:]
    as_written = read(tmp_path, plain)
    odd = copy.deepcopy(plain)
    odd["annotations"][0]["segmentation"] = RING  # not nested
    odd["images"][0]["id"] = odd["annotations"][0]["image_id"] = "3f2c-a"
    odd["images"][1]["id"], odd["images"][1]["width"] = "2", float(W)
    odd["annotations"][1]["attributes"] = {"track_id": odd["annotations"][1].pop("track_id")}
    (tmp_path / "t.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(odd).encode())
    assert read_truth(tmp_path / "t.json", threshold=0.3).objects == as_written.objects
    (tmp_path / "t.json").write_bytes(json.dumps(odd).encode("utf-16"))
    assert read_truth(tmp_path / "t.json", threshold=0.3).objects == as_written.objects


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"images":' + "[" * 900 + "]" * 900 + ', "annotations": [], "categories": []}', "no obj"),
        ('{"images": [], "annotations": [], "categories": []', "not a COCO instances json"),
        ("\0", "not a COCO instances json"),
        ("9" * 5000, "not a COCO instances json"),
    ],
)
def test_odd_json_is_one_line(tmp_path, text, says):
    with pytest.raises(ConfigError, match=says):
        read(tmp_path, text)


@pytest.mark.parametrize("name", ["no\0file.json", "x" * 5000, "."])
def test_places_that_no_file_can_have(tmp_path, name):
    with pytest.raises(ConfigError, match="not a COCO instances json"):
        read_truth(name, threshold=0.3)
