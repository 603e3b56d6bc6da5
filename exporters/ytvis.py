"""YouTube-VIS and CocoVID: a track as one annotation, and the same a frame at a time.

`annotations/ytvis_<split>.json` lists of each track a mask, or null, for each frame of its video.
`annotations/cocovid_<split>.json` is what MMDetection's video loaders read: `frame_id` is the
number of a frame in its video from 0 on, `instance_id` the track, both whole numbers. Pictures are
`JPEGImages/<video>/00000.jpg`, numbered without gaps. There is no place for stills.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import FiniteFloat

from annotate.data.checks import within
from annotate.data.polygons import MIN_IOU
from annotate.data.types import Instance
from exporters.base import Exporter
from exporters.by_track import OTHER_CLASS, ByTrack, once_a_track
from exporters.coco_document import (
    Document,
    Entry,
    Videos,
    as_json,
    categories,
    documents,
    image_entry,
    outline,
    place,
    said_of,
)
from exporters.layout import Layout
from exporters.pictures import Picture, Pictures


class Ytvis(Exporter):
    """`masks` as exact run lengths (rle), or as polygons; `tolerance` of these in px."""

    tracked = True
    once_a_track = True
    promised_iou = MIN_IOU
    loading = """
import json
from collections import Counter

tracks = json.load(open("annotations/ytvis_default.json"))["annotations"]  # a mask for each frame
# MMDetection: ann_file="annotations/cocovid_default.json", data_prefix=dict(img_path="JPEGImages/")
"""

    layout = Layout(
        folder="JPEGImages", frame="{item}/{number:05d}", videos_only=True, suffix=".jpg"
    )

    def __init__(
        self,
        *,
        masks: Literal["polygons", "rle"],
        tolerance: Annotated[FiniteFloat, within(0)],
    ) -> None:
        self._tolerance = tolerance if masks == "polygons" else None

    def write(self, pictures: Pictures, folder: Path) -> Mapping[str, int]:
        """Write both jsons for each split; of one video, a list of its frames is in memory."""
        head = {"categories": categories(pictures.classes.names)}
        where, sets = folder / "annotations", pictures.sets
        with (
            documents(where, sets, "cocovid_{}.json", head) as frames,
            documents(where, sets, "ytvis_{}.json", head, of="videos") as tracks,
        ):
            videos = Videos()
            images = annotations = 0
            not_held: Counter[str] = Counter()
            for _, of_video in groupby(pictures, lambda p: p.record.item):
                files: list[str] = []
                seen: dict[int, Instance] = {}
                with ByTrack(folder) as by_track:
                    for picture in of_video:
                        images += 1
                        files.append(picture.name)
                        written = frames[picture.split]
                        video = videos.enter(picture.record, written)
                        written.images.add(
                            image_entry(picture, images)
                            | {"video_id": video, "frame_id": picture.number}
                        )
                        for instance in once_a_track(picture.instances, not_held):
                            annotations += 1
                            ids = {"id": annotations, "image_id": images, "video_id": video}
                            entry = self._entry(instance)
                            of_track = seen.setdefault(instance.track_id, instance)
                            not_held[OTHER_CLASS] += of_track.class_id != instance.class_id
                            by_track.add(instance.track_id, picture.number, as_json(entry))
                            written.annotations.add(
                                {**ids, **_of_track(instance), **entry, **said_of(instance)}
                            )
                    _write_video(tracks[picture.split], video, picture, files)
                    for track_id, instance in seen.items():
                        _write_track(
                            tracks[picture.split], video, picture, len(files), instance,
                            by_track.of(track_id),
                        )  # fmt: skip
        return +not_held

    def _entry(self, instance: Instance) -> Entry:
        return {"segmentation": outline(instance, self._tolerance), **place(instance)}


def _of_track(instance: Instance) -> Entry:
    return {
        "category_id": instance.class_id + 1,
        "instance_id": instance.track_id,
        "iscrowd": 0,
    }


def _write_video(tracks: Document, video: int, last: Picture, files: list[str]) -> None:
    tracks.images.add(
        {
            "id": video,
            "name": last.record.item,
            "width": last.record.width,
            "height": last.record.height,
            "length": len(files),
            "file_names": files,
        }
    )


def _write_track(
    tracks: Document,
    video: int,
    last: Picture,
    frames: int,
    instance: Instance,
    shapes: Iterator[tuple[int, str]],
) -> None:
    """A mask for each of the `frames` of a video, null where the track is not seen."""
    boxes: list[Any] = [None] * frames
    areas: list[Any] = [None] * frames

    def segmentations() -> Iterator[str]:
        due = 0
        for number, text in shapes:
            shape = json.loads(text)
            boxes[number], areas[number] = shape["bbox"], shape["area"]
            yield from ["null"] * (number - due)
            yield as_json(shape["segmentation"])
            due = number + 1
        yield from ["null"] * (frames - due)

    head = {
        "id": tracks.annotations.count + 1,
        "video_id": video,
        "category_id": instance.class_id + 1,
        "iscrowd": 0,
        "width": last.record.width,
        "height": last.record.height,
        "length": frames,
        "score": instance.score,
        "track_id": instance.track_id,
    }
    tracks.annotations.add_long(
        head, "segmentations", segmentations(), lambda: {"bboxes": boxes, "areas": areas}
    )
