"""Our figures beside those of the reference tools on the same files: `python -m tests.reference`.

The run is exported as COCO with exact masks. pycocotools reads truth and results from files;
TrackEval reads both as YouTube-VIS writes them, and pools classes as its own evaluator does.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from annotate.config.compose import compose, typed
from annotate.config.settings import ExportCommand
from annotate.evaluate.evaluation import evaluate
from annotate.evaluate.truth import read_truth
from annotate.record.run_folder import Run
from annotate.runner.exports import export_run, make_exporters
from tests.exporters.runs import COCO as COCO_FILE
from tests.exporters.runs import frame_ids


def figures(run: Path, truth: Path, threshold: float) -> Iterator[tuple[str, float, float]]:
    """Name, our figure, the reference's."""
    ours = evaluate(Run.open(run), read_truth(truth, threshold=threshold), threshold)
    with tempfile.TemporaryDirectory() as folder:
        everything = exported(run, 0.0)
        for kind, name in (("bbox", "box"), ("segm", "mask")):
            theirs = pycocotools(everything, truth, kind, Path(folder))
            got = ours.average_precision[kind]
            mine = (got.ap, got.ap50, got.ap75, got.ap_small, got.ap_medium, got.ap_large)
            labels = ("AP", "AP50", "AP75", "AP small", "AP medium", "AP large")
            rows = zip(labels, mine, theirs[:6], strict=True)
            yield from ((f"{name} {label}", one, other) for label, one, other in rows)
            yield f"{name} AR100", got.ar100, theirs[8]
        assert ours.tracks is not None
        tracks = ours.tracks
        theirs = trackeval(exported(run, threshold), truth, Path(folder))
        yield "HOTA", tracks.hota, float(np.mean(theirs["HOTA"]["HOTA"]))
        yield "DetA", tracks.det_a, float(np.mean(theirs["HOTA"]["DetA"]))
        yield "AssA", tracks.ass_a, float(np.mean(theirs["HOTA"]["AssA"]))
        yield "IDF1", tracks.idf1, float(theirs["Identity"]["IDF1"])
        yield "id switches", tracks.id_switches, float(theirs["CLEAR"]["IDSW"])


def exported(run: Path, threshold: float) -> dict:
    """The COCO json of an export with exact masks and no pictures."""
    more = [f"threshold={threshold}", "export=[coco]", "coco.masks=rle", "export.media=none"]
    command = typed(compose([f"run={run}", *more], "export"), ExportCommand)
    export_run(Run.open(run), make_exporters(command), command)
    document = json.loads((run / "exports/coco" / COCO_FILE).read_text())
    ids = frame_ids(document)
    return document | {"images": [i | {"frame_id": ids[i["id"]]} for i in document["images"]]}


def pycocotools(ours: dict, truth: Path, kind: str, folder: Path) -> list[float]:
    """The twelve figures that COCOeval prints; nan where it says -1."""
    expected = json.loads(truth.read_text())
    number = {i["frame_id"]: i["id"] for i in expected["images"]}
    category = {c["name"]: c["id"] for c in expected["categories"]}
    names = {c["id"]: c["name"] for c in ours["categories"]}
    images = {i["id"]: number[i["frame_id"]] for i in ours["images"]}
    # Given both, loadRes would take the area of the box for that of the mask.
    shape = "bbox" if kind == "bbox" else "segmentation"
    results = [
        {k: a[k] for k in (shape, "score")}
        | {"image_id": images[a["image_id"]], "category_id": category[names[a["category_id"]]]}
        for a in ours["annotations"]
    ]
    (folder / "results.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(str(truth))
        scorer = COCOeval(reference, reference.loadRes(str(folder / "results.json")), kind)
        scorer.params.imgIds = sorted(images.values())
        scorer.evaluate()
        scorer.accumulate()
        scorer.summarize()
    return [float(v) if v >= 0 else float("nan") for v in scorer.stats]


def trackeval(ours: dict, truth: Path, folder: Path) -> dict:
    """TrackEval's results over all classes and videos, pooled."""
    from trackeval import Evaluator
    from trackeval.datasets import YouTubeVIS
    from trackeval.metrics import CLEAR, HOTA, Identity

    expected = json.loads(truth.read_text())
    frames = {i["frame_id"] for i in ours["images"] if "video_id" in i}
    videos: dict[str, list[dict]] = defaultdict(list)
    for image in expected["images"]:
        if image.get("frame_id") in frames:
            videos[image["frame_id"].rpartition("#")[0]].append(image)
    place = {
        image["frame_id"]: (number, index)
        for number, images in enumerate(videos.values(), start=1)
        for index, image in enumerate(sorted(images, key=lambda i: i["frame_index"]))
    }
    lengths = {number: len(images) for number, images in enumerate(videos.values(), start=1)}
    names = {c["id"]: c["name"] for c in expected["categories"]}
    truth_tracks = _tracks(expected, place, lengths, names, {n: c for c, n in names.items()})
    found_tracks = _tracks(
        ours, place, lengths, {c["id"]: c["name"] for c in ours["categories"]},
        {n: c for c, n in names.items()},
    )  # fmt: skip
    for track in truth_tracks:
        track["segmentations"] = [s and _uncompressed(s) for s in track["segmentations"]]
    gt = folder / "gt/youtube_vis_all"
    found = folder / "trackers/youtube_vis_all/ours/data"
    for place_of in (gt, found):
        place_of.mkdir(parents=True)
    listed = [
        {"id": number, "file_names": [f"v{number}/{t}.jpg" for t in range(length)]}
        for number, length in lengths.items()
    ]
    document = {
        "videos": listed,
        "categories": expected["categories"],
        "annotations": truth_tracks,
    }
    (gt / "gt.json").write_text(json.dumps(document))
    (found / "results.json").write_text(json.dumps(found_tracks))
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = YouTubeVIS(
            {
                "GT_FOLDER": f"{folder}/gt/",
                "TRACKERS_FOLDER": f"{folder}/trackers/",
                "SPLIT_TO_EVAL": "all",
                "PRINT_CONFIG": False,
            }
        )
        quiet = {"THRESHOLD": 0.5, "PRINT_CONFIG": False}
        evaluator = Evaluator(
            {
                "USE_PARALLEL": False, "PRINT_RESULTS": False, "PRINT_CONFIG": False,
                "OUTPUT_SUMMARY": False, "OUTPUT_DETAILED": False, "PLOT_CURVES": False,
                "TIME_PROGRESS": False, "OUTPUT_EMPTY_CLASSES": False, "BREAK_ON_ERROR": True,
            }
        )  # fmt: skip
        results, _ = evaluator.evaluate([dataset], [HOTA(), Identity(quiet), CLEAR(quiet)])
    return results["YouTubeVIS"]["ours"]["COMBINED_SEQ"]["cls_comb_det_av"]


def _tracks(document: dict, place: dict, lengths: dict, names: dict, ids: dict) -> list[dict]:
    """Tracks with a mask or None for every frame, under the truth's category ids."""
    images = {i["id"]: i for i in document["images"]}
    tracks: dict[tuple, dict] = {}
    for annotation in document["annotations"]:
        image = images[annotation["image_id"]]
        if image.get("frame_id") not in place:
            continue
        video, index = place[image["frame_id"]]
        category = ids[names[annotation["category_id"]]]
        track = tracks.setdefault(
            (video, annotation["track_id"], category),
            {
                "id": len(tracks) + 1,
                "video_id": video,
                "category_id": category,
                "width": image["width"],
                "height": image["height"],
                "iscrowd": 0,
                "score": annotation.get("score", 1.0),
                "segmentations": [None] * lengths[video],
                "areas": [None] * lengths[video],
            },
        )
        track["segmentations"][index] = annotation["segmentation"]
        track["areas"][index] = annotation["area"]
    return list(tracks.values())


def _uncompressed(rle: dict) -> dict:
    """Run lengths as TrackEval's reader of truth wants them: a list of numbers."""
    flat = coco_mask.decode(rle).T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
    return {"size": rle["size"], "counts": np.diff([0, *edges, len(flat)]).tolist()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path("runs/demo"))
    parser.add_argument("--truth", type=Path, default=Path("data/demo/truth.json"))
    parser.add_argument("--threshold", type=float, default=0.3)
    options = parser.parse_args()
    print("| figure | annotate | reference |")
    print("|---|---|---|")
    for name, ours, theirs in figures(options.run, options.truth, options.threshold):
        print(f"| {name} | {ours:.4f} | {theirs:.4f} |")


if __name__ == "__main__":
    main()
