"""Boxes that are there already: whose they are, in every format, and in whole runs."""

import base64
import io
import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from annotate.config.compose import compose, typed
from annotate.config.settings import ModelsCommand
from annotate.data.types import Frame, Item
from annotate.discover.class_list import load_prompts
from annotate.errors import ConfigError, MediaError, PromptError
from annotate.ground.base import Grounder

H, W = 40, 60


def grounder(file: Path, *asked: str, classes="[car,person]") -> Grounder:
    overrides = ["models=tiny", "device=cpu", "ground=boxes", f"ground.file={file}", *asked]
    made = typed(compose(overrides, "config"), ModelsCommand).grounder.make(Grounder)
    made.check()
    made.load(load_prompts(classes if not isinstance(classes, str) else classes[1:-1].split(",")))
    return made


def still(name: str, root: Path = Path("data")) -> Frame:
    return Frame(Item(name, root / name), np.zeros((H, W, 3), np.uint8))


def found(made: Grounder, *frames: Frame):
    return made.find_in(list(frames) or [still("a.jpg")], 0.0)


def rows(candidates) -> list[tuple]:
    boxes = np.asarray(candidates.boxes_xyxy, float).round(3).tolist()
    scores = np.asarray(candidates.scores, float).round(3).tolist()
    return list(zip(map(tuple, boxes), scores, candidates.class_ids.tolist(), strict=True))


def coco(tmp_path: Path, *annotations, images=None, **more) -> Path:
    """A json of one picture, a.jpg, unless others are named."""
    names = images or ["a.jpg"]
    content = {
        "images": [
            n if isinstance(n, dict) else {"id": k, "file_name": n, "width": W, "height": H}
            for k, n in enumerate(names, start=1)
        ],
        "categories": [
            {"id": 3, "name": "person"},
            {"id": 7, "name": "car"},
            {"id": 9, "name": "x"},
        ],
        "annotations": [
            {"id": n, "image_id": 1, "iscrowd": 0} | a for n, a in enumerate(annotations, start=1)
        ],
        **more,
    }
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content))
    return path


CAR = {"category_id": 7, "bbox": [10, 5, 20, 10], "score": 0.7}


# COCO


def test_objects_have_their_class_by_name_whatever_the_order_of_the_lists(tmp_path):
    person = {"category_id": 3, "bbox": [0.5, 1.25, 7, 8]}
    made = grounder(coco(tmp_path, CAR, person))
    (some,) = found(made)
    assert rows(some) == [((10, 5, 30, 15), 0.7, 0), ((0.5, 1.25, 7.5, 9.25), 1.0, 1)]
    assert list(some.phrases) == ["car", "person"]
    assert made.has_scores
    assert made.provenance["sha256"] and made.tally == {"boxes taken": 2}


def test_a_phrase_of_a_class_takes_the_files_class_of_that_name(tmp_path):
    made = grounder(coco(tmp_path, CAR), classes=["vehicle: Car, truck"])
    assert [class_id for _, _, class_id in rows(found(made)[0])] == [0]


def test_what_was_not_asked_for_is_counted_and_what_is_not_there_said(tmp_path, caplog):
    crowd = CAR | {"iscrowd": 1, "bbox": [0, 0, 9, 9]}
    made = grounder(coco(tmp_path, CAR, crowd, {"category_id": 9, "bbox": [0, 0, 5, 5]}, CAR))
    assert len(found(made)[0].scores) == 2
    assert made.tally == {
        "crowds left out": 1,
        "objects of classes that were not asked for": 1,
        "boxes taken": 2,
        "of them probably doubles, which ground.nms_iou=0.7 merges": 1,
    }
    assert "1 objects stand twice" in caplog.text and "1 crowds left out" in caplog.text
    assert "objects of x are not asked for" in caplog.text
    grounder(coco(tmp_path, CAR), classes=["car", "zebra"])
    assert "has no class zebra; its own are person, car, x" in caplog.text
    with pytest.raises(PromptError, match="has none of the classes; its own are person, car, x"):
        grounder(coco(tmp_path, CAR), classes=["zebra"])


def test_masks_are_taken_or_left(tmp_path):
    ring = {"segmentation": [[10, 5, 30, 5, 30, 15]]}
    (some,) = found(grounder(coco(tmp_path, CAR | ring, CAR)))
    assert some.masks[0].decode()[:, :10].sum() == 0 and some.masks[0].decode().sum() > 90
    assert some.masks[1] is None
    (some,) = found(grounder(coco(tmp_path, CAR | ring), "ground.masks=false"))
    assert some.masks is None


def test_a_list_of_results_needs_the_images_it_is_of(tmp_path):
    images = coco(tmp_path)
    results = tmp_path / "results.json"
    results.write_text(json.dumps([CAR | {"image_id": 1, "id": 5}, CAR | {"image_id": 1, "id": 5}]))
    with pytest.raises(ConfigError, match="is a list of results; name the json that has their ima"):
        grounder(results)
    assert len(found(grounder(results, f"ground.images={images}"))[0].scores) == 2


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (CAR | {"score": 70}, r"a score of 70, expected 0\.\.1"),
        (CAR | {"bbox": [1, 2, 3]}, "which is no x, y, width, height"),
        (CAR | {"category_id": 4}, "categories has no id '4'"),
    ],
)
def test_what_is_wrong_with_a_json_is_one_line(tmp_path, broken, words):
    with pytest.raises(ConfigError, match=rf"ground\.file=.*{words}"):
        grounder(coco(tmp_path, broken))


# Names


@pytest.mark.parametrize(
    ("said", "item", "root", "asked"),
    [
        ("a.jpg", "a.jpg", "data", ()),
        ("./sub\\a.jpg", "sub/a.jpg", "data", ()),
        ("images/train/a.jpg", "a.jpg", "/set/images/train", ()),
        ("/set/images/train/a.jpg", "a.jpg", "/set/images/train", ()),
        ("a.jpg", "train/a.jpg", "data", ("ground.below=train",)),
    ],
)
def test_a_picture_is_told_by_its_name_or_a_longer_end_of_its_path(
    tmp_path, said, item, root, asked
):
    made = grounder(coco(tmp_path, CAR, images=[said]), *asked)
    (some,) = found(made, still(item, Path(root)))
    assert len(some.scores) == 1


@pytest.mark.parametrize(
    ("said", "item", "root", "asked"),
    [
        ("a.jpg", "train/a.jpg", "data", ()),  # val/a.jpg may be meant as well
        ("val/a.jpg", "a.jpg", "/set/train", ()),
        ("a.jpg", "val/a.jpg", "data", ("ground.below=train",)),
    ],
)
def test_what_may_be_another_picture_fails_and_the_line_says_how_to_tell(
    tmp_path, said, item, root, asked
):
    made = grounder(coco(tmp_path, CAR, images=[said]), *asked)
    with pytest.raises(MediaError, match=rf"has no picture of this name \(but such as '{said}'\)"):
        found(made, still(item, Path(root)))


def test_a_picture_of_another_size_is_another_picture(tmp_path):
    turned = {"id": 1, "file_name": "a.jpg", "width": H, "height": W}
    with pytest.raises(MediaError, match=r"has it as 40x60, it is 60x40 \(upright\): another"):
        found(grounder(coco(tmp_path, CAR, images=[turned])))


def test_frames_are_told_by_the_files_of_their_folder_or_by_their_number(tmp_path):
    clip = tmp_path / "data" / "clip"
    clip.mkdir(parents=True)
    for number in (1, 2, 10):  # counted from 1
        (clip / f"{number:06d}.jpg").touch()
    item = Item("clip", clip, "video")
    blank = np.zeros((H, W, 3), np.uint8)
    file = coco(tmp_path, CAR, images=["clip/000001.jpg", "clip/000002.jpg", "clip/000010.jpg"])
    made = grounder(file)
    counts = [len(c.scores) for c in found(made, *(Frame(item, blank, n) for n in range(4)))]
    assert counts == [1, 0, 0, 0]
    assert made.tally["video frames that the file does not have"] == 1
    video = Item("v.mp4", tmp_path / "v.mp4", "video")
    for name in ("v.mp4/000002.jpg", {"id": 1, "file_name": "z.jpg", "frame_id": "v.mp4#000002"}):
        made = grounder(coco(tmp_path, CAR, images=[name]))
        some = found(made, *(Frame(video, blank, n) for n in range(4)))
        assert [len(c.scores) for c in some] == [0, 0, 1, 0]


def test_pictures_of_our_own_exports_are_known_by_their_source(tmp_path):
    image = {"id": 1, "file_name": "a__jpg.jpg", "source": "a.jpg", "width": W, "height": H}
    assert len(found(grounder(coco(tmp_path, CAR, images=[image])))[0].scores) == 1


# YOLO


def yolo(tmp_path: Path, text: str, *, names="names: {0: person, 4: car}\n", at="labels") -> Path:
    folder = tmp_path / "yolo"
    (folder / at).mkdir(parents=True)
    (folder / at / "a.txt").write_text(text)
    if names:
        (folder / "data.yaml").write_text(names)
    return folder


def test_lines_of_yolo_are_boxes_outlines_and_scores(tmp_path):
    lines = ["4 0.5 0.5 0.5 0.25", "0 0.5 0.5 0.5 0.25 0.625", "4 0 0 0.5 0 0.5 0.5 0.9", ""]
    made = grounder(yolo(tmp_path, "\n".join([*lines, "4 0 0 0.5 0 0.5 0.5"])))
    (some,) = found(made)
    assert rows(some) == [
        ((15, 15, 45, 25), 1.0, 0),
        ((15, 15, 45, 25), 0.625, 1),
        ((0, 0, 30, 20), 0.9, 0),
        ((0, 0, 30, 20), 1.0, 0),
    ]
    assert [mask is None for mask in some.masks] == [True, True, False, False]
    assert some.masks[2].decode().sum() == pytest.approx(300, rel=0.1)


@pytest.mark.parametrize("at", ["labels", "", "labels/train"])
def test_labels_lie_where_tools_put_them(tmp_path, at):
    made = grounder(yolo(tmp_path, "4 0.5 0.5 0.5 0.25\n", at=at))
    item = {"labels": "images/a.jpg", "": "a.jpg", "labels/train": "images/train/a.jpg"}[at]
    assert len(found(made, still(item))[0].scores) == 1


def test_a_picture_without_a_label_file_has_no_objects_and_is_counted(tmp_path):
    made = grounder(yolo(tmp_path, "4 0.5 0.5 0.5 0.25\n"))
    assert len(found(made, still("b.jpg"))[0].scores) == 0
    assert made.tally == {"image frames that the file does not have": 1, "boxes taken": 0}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("4 0.5 0.5 0.5", "neither a box nor an outline"),
        ("4 100 100 50 20", "neither a box nor an outline, in shares of the picture"),
        ("5 0.5 0.5 0.5 0.25", "class 5, and names has no such"),
        ("car 0.5 0.5 0.5 0.25", "is no line of numbers"),
        ("4 0.5 nan 0.5 0.25", "neither a box nor an outline"),
        ("4 0.5 0.5 0.5 0.25 1.5", r"a score of 1\.5"),
    ],
)
def test_a_line_that_cannot_be_is_named(tmp_path, line, words):
    made = grounder(yolo(tmp_path, f"4 0.5 0.5 0.5 0.25\n{line}\n"))
    with pytest.raises(MediaError, match=rf"a\.txt.*{words}"):
        found(made)


def test_a_folder_without_labels_or_names_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no names of its classes, neither in"):
        grounder(yolo(tmp_path, "0 0.5 0.5 0.5 0.25", names=""))
    (tmp_path / "yolo/classes.txt").write_text("car\nperson\n")
    assert [c for *_, c in rows(found(grounder(tmp_path / "yolo"))[0])] == [0]
    (tmp_path / "yolo/labels/a.txt").unlink()
    with pytest.raises(ConfigError, match=r"no \.txt labels below it"):
        grounder(tmp_path / "yolo")


# CVAT


def cvat(tmp_path: Path, inside: str) -> Path:
    path = tmp_path / "annotations.xml"
    path.write_text(
        f"<?xml version='1.0'?><annotations><version>1.1</version>{inside}</annotations>"
    )
    return path


def test_shapes_of_cvat(tmp_path):
    shapes = """<image id="0" name="a.jpg" width="60" height="40">
      <box label="car" xtl="10" ytl="5" xbr="30" ybr="15"><attribute name="q">1</attribute></box>
      <box label="car" xtl="10" ytl="5" xbr="30" ybr="15" rotation="90"></box>
      <polygon label="person" points="0,0;30,0;30,20"></polygon>
      <mask label="car" rle="1, 2, 3" left="4" top="5" width="3" height="2"></mask>
      <polyline label="car" points="0,0;5,5"></polyline>
    </image>"""
    made = grounder(cvat(tmp_path, shapes))
    (some,) = found(made)
    assert rows(some) == [
        ((10, 5, 30, 15), 1.0, 0),
        ((15, 0, 25, 20), 1.0, 0),
        ((0, 0, 30, 20), 1.0, 1),
        ((5, 5, 7, 6), 1.0, 0),
    ]
    assert np.argwhere(some.masks[3].decode()).tolist() == [[5, 5], [5, 6]]
    assert not made.has_scores
    assert made.tally["polyline shapes left out"] == 1


def test_tracks_of_a_video_of_cvat(tmp_path):
    inside = """<meta><task><source>v.mp4</source><original_size>
      <width>60</width><height>40</height></original_size></task></meta><track id="0" label="car">
      <box frame="0" outside="0" xtl="1" ytl="2" xbr="9" ybr="8"></box>
      <box frame="1" outside="0" xtl="2" ytl="2" xbr="10" ybr="8"></box>
      <box frame="2" outside="1" xtl="2" ytl="2" xbr="10" ybr="8"></box></track>"""
    item = Item("v.mp4", tmp_path / "v.mp4", "video")
    frames = [Frame(item, np.zeros((H, W, 3), np.uint8), n) for n in range(3)]
    some = found(grounder(cvat(tmp_path, inside)), *frames)
    assert [rows(c) for c in some] == [[((1, 2, 9, 8), 1.0, 0)], [((2, 2, 10, 8), 1.0, 0)], []]


@pytest.mark.parametrize(
    "inside",
    [
        "<image id='0' name='a.jpg' width='60' height='40'><box label='car' xtl='1'/></image>",
        "<image id='0' name='a.jpg' width='60' height='40'><mask label='car' rle='1,2' left='0' "
        "top='0' width='3' height='2'/></image>",
        "<image id='0' name='a.jpg' width='60' height='40'/>" * 2,
        "<image",
    ],
)
def test_an_xml_that_is_not_right_is_one_line(tmp_path, inside):
    with pytest.raises(ConfigError, match=r"annotations\.xml: not an xml of CVAT \(") as error:
        grounder(cvat(tmp_path, inside))
    assert "\n" not in str(error.value)


# FiftyOne


def fiftyone(tmp_path: Path, detections: list[dict], **more) -> Path:
    folder = tmp_path / "fo"
    folder.mkdir()
    labels = {"_cls": "Detections", "detections": detections}
    sample = {"filepath": "data/a.jpg", "ground_truth": labels, "tags": [], **more}
    (folder / "samples.json").write_text(json.dumps({"samples": [sample]}))
    return folder


def test_detections_of_fiftyone_with_its_own_packing_of_masks(tmp_path):
    fo = pytest.importorskip("fiftyone")
    mask = np.zeros((10, 30), bool)
    mask[2:4, 5:9] = True
    detection = fo.Detection(label="car", bounding_box=[0.5, 0.25, 0.5, 0.25], mask=mask)
    plain = fo.Detection(label="person", bounding_box=[0, 0, 0.1, 0.1], confidence=0.5)
    said = [
        {k: packed(v) if isinstance(v, bytes) else v for k, v in d.to_dict().items() if k != "_id"}
        for d in (detection, plain)
    ]
    made = grounder(fiftyone(tmp_path, said))
    (some,) = found(made)
    assert rows(some) == [((30, 10, 60, 20), 1.0, 0), ((0, 0, 6, 4), 0.5, 1)]
    assert np.argwhere(some.masks[0].decode())[[0, -1]].tolist() == [[12, 35], [13, 38]]
    assert some.masks[1] is None


def packed(value):
    """As FiftyOne's json has binary values."""
    return {"$binary": {"base64": base64.b64encode(value).decode(), "subType": "00"}}


def test_the_field_must_be_clear(tmp_path):
    other = {"_cls": "Detections", "detections": []}
    folder = fiftyone(tmp_path, [], predictions=other)
    with pytest.raises(ConfigError, match="there are ground_truth, predictions"):
        grounder(folder, "ground.field=nothing")
    with pytest.raises(ConfigError, match=r"ground\.field=NAME must say which field is meant"):
        grounder(folder)


def test_a_file_cannot_ask_for_more_than_a_picture_has(tmp_path):
    bomb = {"label": "car", "bounding_box": [0, 0, 1, 1]}
    packed_bomb = bomb | {"mask": packed(zlib.compress(b"\0" * 10_000_000))}
    with pytest.raises(MediaError, match="its mask unpacks to more than"):
        found(grounder(fiftyone(tmp_path, [packed_bomb])))
    far = '<polygon label="car" points="0,0;1e9,0;0,1e9"/>'
    for inside in (
        f"<image id='0' name='a.jpg' width='60' height='40'>{far}</image>",
        "<image id='0' name='a.jpg' width='1000000000' height='40'/>",
    ):
        with pytest.raises(ConfigError, match="not an xml of CVAT"):
            grounder(cvat(tmp_path, inside))
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    file = tmp_path / "annotations.xml"
    file.write_text(f'<!DOCTYPE x [<!ENTITY a0 "no">{entities}]><annotations>&a11;</annotations>')
    with pytest.raises(ConfigError, match=r"not an xml of CVAT \(limit on input amplification"):
        grounder(file)


def test_a_mask_that_is_no_mask_fails_its_picture(tmp_path):
    raw = io.BytesIO()
    np.save(raw, np.array([object()]), allow_pickle=True)  # code, if it were run
    broken = {
        "label": "car",
        "bounding_box": [0, 0, 1, 1],
        "mask": packed(zlib.compress(raw.getvalue())),
    }
    with pytest.raises(MediaError, match=r"a detection in a\.jpg cannot be read"):
        found(grounder(fiftyone(tmp_path, [broken])))
