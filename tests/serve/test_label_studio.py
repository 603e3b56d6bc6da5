"""Label Studio's contract over a real socket: predictions, and what is refused."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from annotate import Annotator
from annotate.data import brush
from annotate.decode.image import read_image
from annotate.discover.class_list import load_prompts
from annotate.serve import __main__
from annotate.serve.annotating import Models
from annotate.serve.label_studio import LabelStudio
from annotate.serve.pictures import PictureSource
from annotate.serve.server import make_server
from annotate.track.prompts import inner_points
from tests.serve.conftest import PROMPTS, command

LABELS = "".join(f'<Label value="{n}"/>' for n in ("Red circle", "blue_square", "green triangle"))
BRUSH = f'<View><Image name="img" value="$image"/><BrushLabels name="b" toName="img">{LABELS}</BrushLabels></View>'  # noqa: E501
BOTH = BRUSH.replace(
    "</View>", f'<RectangleLabels name="r" toName="img">{LABELS}</RectangleLabels></View>'
)
POLYGONS = BRUSH.replace("BrushLabels", "PolygonLabels")


@pytest.fixture(scope="module")
def backend(models: Models, stills: Path) -> Iterator[httpx.Client]:
    yield from served(models, f"serve.files={stills}", "serve.port=1")


def served(models: Models, *keys: str) -> Iterator[httpx.Client]:
    """A client of a server at a port that is free, with these settings."""
    settings = command(*keys).serve
    pictures = PictureSource(settings, command().dataset.max_pixels)
    label_studio = LabelStudio(models, pictures.read)
    server = make_server(
        replace(settings, port=0),
        __main__.routes(label_studio),
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    host, port = server.server_address[:2]
    with httpx.Client(base_url=f"http://{host}:{port}", timeout=60) as client:
        yield client
    server.shutdown()
    server.server_close()
    thread.join()


def local(name: str) -> dict[str, Any]:
    return {"id": 1, "data": {"image": f"/data/local-files/?d={name}"}}


def ask(client: httpx.Client, *tasks: Any, config: str = BRUSH, **more: Any) -> list[Any]:
    request = {"tasks": list(tasks), "label_config": config, **more}
    reply = client.post("/predict", content=json.dumps(request))  # httpx would refuse some of it
    assert reply.status_code == 200, reply.text
    results: list[Any] = reply.json()["results"]
    return results


def test_it_is_up_and_says_who_it_is(backend: httpx.Client) -> None:
    for path in ("/", "/health"):
        said = backend.get(path).json()
        assert said["status"] == "UP" and said["model_version"].startswith("annotate 0")
    said = backend.post("/setup", json={"project": "1.2", "schema": BRUSH}).json()
    assert said["model_version"].startswith("annotate 0")
    for path in ("/webhook", "/train"):
        heard = backend.post(path, json={"action": "ANNOTATION_CREATED"})
        assert heard.status_code == 200 and "does not train" in heard.json()["detail"]


def test_predictions_are_what_the_command_line_finds(backend: httpx.Client, stills: Path) -> None:
    annotator = Annotator(prompts=["red circle", "blue square", "green triangle"], models="tiny")
    paths = sorted(stills.glob("*.png"))
    results = ask(backend, *(local(p.name) for p in paths), config=BOTH)
    assert len(results) == len(paths) and any(r["result"] for r in results)
    for path, result in zip(paths, results, strict=True):
        expected = annotator.image(path).instances
        brushes = [r for r in result["result"] if r["type"] == "brushlabels"]
        boxes = [r for r in result["result"] if r["type"] == "rectanglelabels"]
        assert len(brushes) == len(boxes) == len(expected)
        for region, box, instance in zip(brushes, boxes, expected, strict=True):
            h, w = region["original_height"], region["original_width"]
            mask = brush.opaque(region["value"]["rle"], (h, w))
            assert (mask == instance.mask.decode()).all()
            label = region["value"]["brushlabels"][0]
            assert label.lower().replace("_", " ") == instance.class_name
            assert region["score"] == pytest.approx(instance.score)
            assert (region["from_name"], region["to_name"]) == ("b", "img")
            shares = np.array([box["value"][k] for k in ("x", "y", "width", "height")])
            x0, y0, x1, y1 = instance.box_xyxy
            assert shares * [w, h, w, h] / 100 == pytest.approx([x0, y0, x1 - x0, y1 - y0])


def test_polygons_are_in_percent_of_the_picture(backend: httpx.Client, stills: Path) -> None:
    results = ask(backend, *(local(p.name) for p in sorted(stills.glob("*"))), config=POLYGONS)
    regions = [region for result in results for region in result["result"]]
    assert regions
    for region in regions:
        points = np.array(region["value"]["points"])
        assert points.min() >= 0 and points.max() <= 100 and len(points) >= 3


def test_a_drawn_box_gets_its_mask(backend: httpx.Client, stills: Path) -> None:
    name = next(p.name for p in sorted(stills.glob("*.png")))
    (found,) = ask(backend, local(name), config=BOTH)
    first = next(r for r in found["result"] if r["type"] == "rectanglelabels")
    drawn = {"type": "rectanglelabels", "value": first["value"], "original_width": 1}
    (asked,) = ask(backend, local(name), config=BOTH, params={"context": {"result": [drawn]}})
    masks = [r for r in asked["result"] if r["type"] == "brushlabels"]
    assert len(masks) == 1
    assert masks[0]["value"]["brushlabels"] == first["value"]["rectanglelabels"]


def test_a_point_with_a_label_gets_the_mask_of_its_object(
    backend: httpx.Client, stills: Path
) -> None:
    """Of every object that is found, its middle gives about the mask that its box gives."""
    ious = []
    for path in sorted(stills.glob("*.png")):
        (found,) = ask(backend, local(path.name))
        for region in found["result"]:
            size = region["original_height"], region["original_width"]
            mask = brush.opaque(region["value"]["rle"], size)
            x, y = inner_points(mask)[0].tolist()
            value = {"x": (x + 0.5) / size[1] * 100, "y": (y + 0.5) / size[0] * 100}
            labelled = value | {"keypointlabels": ["blue_square"]}
            point = {"type": "keypointlabels", "value": labelled, "is_positive": 1}
            (asked,) = ask(backend, local(path.name), params={"context": {"result": [point]}})
            (one,) = asked["result"]
            assert one["value"]["brushlabels"] == ["blue_square"]
            seen = brush.opaque(one["value"]["rle"], size)
            ious.append((mask & seen).sum() / (mask | seen).sum())
    assert len(ious) >= 3 and np.median(ious) > 0.8


def test_a_segmenter_of_boxes_gives_what_was_found_at_a_point(stills: Path) -> None:
    value = {"x": 50, "y": 50, "keypointlabels": ["blue_square"]}
    context = {"context": {"result": [{"type": "keypointlabels", "value": value}]}}
    names = [p.name for p in sorted(stills.glob("*.png"))]
    settings = command("segment=none")
    boxes = Models(settings, load_prompts(settings.prompts))
    for client in served(boxes, f"serve.files={stills}"):
        found = ask(client, *map(local, names))
        there = ask(client, *map(local, names), params=context)
    for all_of, some in zip(found, there, strict=True):
        rles = [region["value"]["rle"] for region in all_of["result"]]
        assert all(region["value"]["rle"] in rles for region in some["result"])
    assert sum(len(r["result"]) for r in there) < sum(len(r["result"]) for r in found)


def test_a_drawn_box_keeps_the_label_that_it_was_given(models: Models, stills: Path) -> None:
    """`dog` is none of the classes: it is a label of the interface all the same."""
    config = BRUSH.replace(LABELS, LABELS + '<Label value="dog"/>')
    value = {"x": 10, "y": 10, "width": 60, "height": 60, "rectanglelabels": ["dog"]}
    drawn = [{"type": "rectanglelabels", "value": value}]
    drawn.append({"type": "rectanglelabels", "value": value | {"x": 30}})
    name = sorted(stills.glob("*.png"))[0].name
    for client in served(models, f"serve.files={stills}"):
        answers = [
            ask(client, local(name), config=config, params={"context": {"result": [one]}})[0]
            for one in drawn
        ]
    regions = [region for answer in answers for region in answer["result"]]
    assert [r["value"]["brushlabels"] for r in regions] == [["dog"], ["dog"]]
    # Label Studio puts an accepted region in the place of the one that has its name.
    assert len({r["id"] for r in regions}) == 2


def test_without_prompts_the_labels_are_the_classes(models: Models, stills: Path) -> None:
    settings = command(prompts=None)
    lazy = Models(settings, None)
    names = [p.name for p in sorted(stills.glob("*.png"))]
    for client in served(lazy, f"serve.files={stills}"):
        assert client.get("/health").json()["model_version"].startswith("annotate 0")
        assert client.post("/setup", json={"schema": BRUSH}).status_code == 200
        asked = [r["result"] for r in ask(client, *map(local, names))]
        again = lazy.of(["blue_square"])  # another interface
        assert again is lazy.of(["blue_square", "blue_square"])
        assert again.classes.names == ["blue_square"]
    for client in served(models, f"serve.files={stills}"):
        given = [r["result"] for r in ask(client, *map(local, names))]
    assert any(asked) and asked == given


def test_a_point_gives_what_is_there(backend: httpx.Client, stills: Path) -> None:
    name = next(p.name for p in sorted(stills.glob("*.png")))
    (found,) = ask(backend, local(name))
    region = found["result"][0]
    h, w = region["original_height"], region["original_width"]
    ys, xs = np.nonzero(brush.opaque(region["value"]["rle"], (h, w)))
    value = {"x": (xs[0] + 0.5) / w * 100, "y": (ys[0] + 0.5) / h * 100, "width": 0.5}
    point = {"type": "keypointlabels", "value": value}
    (asked,) = ask(backend, local(name), params={"context": {"result": [point]}})
    assert region["value"]["rle"] in [r["value"]["rle"] for r in asked["result"]]
    assert len(asked["result"]) <= len(found["result"])


def test_pictures_come_inline_as_well(backend: httpx.Client, stills: Path) -> None:
    path = sorted(stills.glob("*.png"))[0]
    inline = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
    assert ask(backend, {"data": {"image": inline}}) == ask(backend, local(path.name))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("/data/local-files/?d=../../etc/passwd", "leaves serve.files="),
        ("/data/local-files/?d=%2Fetc%2Fpasswd", "no such file below serve.files="),
        ("/data/local-files/?d=none.png", "no such file below serve.files="),
        ("/data/upload/1/a.png", "lies in Label Studio; set serve.label_studio="),
        ("http://169.254.169.254/latest/meta-data", "no host that pictures are fetched from"),
        ("file:///etc/passwd", "neither a file of local storage, an upload nor a url"),
        ("s3://bucket/a.png", "neither a file of local storage, an upload nor a url"),
        ("data:image/png;base64,AAAA", "picture"),
        ("data:image/png;base64,***", "no base64"),
        ("", "neither a file"),
        ("/data/local-files/?d=a%00b", "no name of a file"),
        ("/data/local-files/?d=" + "a" * 5000, "no name of a file"),
        ("http://[", "no name of a picture"),
        ("/data/local-files/?d=\ud800", "no name of a picture"),
    ],
)
def test_one_picture_that_cannot_be_had_does_not_lose_the_others(
    backend: httpx.Client, stills: Path, said: str, why: str
) -> None:
    name = sorted(stills.glob("*.png"))[0].name
    broken, whole = ask(backend, {"data": {"image": said}}, local(name))
    assert broken["result"] == [] and why in broken["error"]
    assert whole["result"] and "error" not in whole


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"x": "a", "y": 1}, "a shape without x and y in percent"),
        ({"x": float("nan"), "y": 1, "width": 2, "height": 2}, "a shape whose place is no number"),
        ({"x": 1e308, "y": 1e308, "width": 1e308, "height": 1e308}, None),
        ({"x": 200, "y": 200, "width": 5, "height": 5}, None),
        ({"x": 9, "y": 9, "width": 20, "height": 20, "rectanglelabels": [["q"]]}, None),
        ({"x": 9, "y": 9, "width": 20, "height": 20, "rectanglelabels": {"a": 1}}, None),
        ({"x": 9, "y": 9, "width": 20, "height": 20, "rectanglelabels": 7}, None),
        (None, None),
    ],
)
def test_odd_shapes_are_sentences_or_nothing(
    backend: httpx.Client, stills: Path, value: Any, why: str | None
) -> None:
    drawn = {"type": "rectanglelabels", "value": value}
    context = {"params": {"context": {"result": [drawn]}}}
    name = sorted(stills.glob("*.png"))[0].name
    (result,) = ask(backend, local(name), **context)
    assert why in result["error"] if why else "error" not in result


def test_a_fault_is_printed_and_loses_one_task(
    models: Models, stills: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def read(name: str) -> Any:
        if name == "bad":
            raise KeyError("nobody foresaw it")
        return read_image(stills / name)

    name = sorted(stills.glob("*.png"))[0].name
    tasks = [{"data": {"image": said}} for said in ("bad", name)]
    bad, good = LabelStudio(models, read).predict({"tasks": tasks, "label_config": BRUSH})[
        "results"
    ]
    assert bad["result"] == [] and bad["error"].startswith("a fault of annotate")
    assert good["result"]
    assert "KeyError: 'nobody foresaw it'" in capsys.readouterr().err


@pytest.mark.parametrize("task", [None, 3, {}, {"data": {}}, {"data": {"image": 7}}])
def test_a_task_without_a_picture_is_a_sentence(backend: httpx.Client, task: Any) -> None:
    (result,) = ask(backend, task)
    assert result["error"] == "task: its data has no picture as image"


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        (b"{", 400, "a request must be a JSON object"),
        (b"[" * 100_000, 400, "a request must be a JSON object"),
        (b"[]", 400, "a request must be a JSON object"),
        (b"{}", 400, "expected a list of tasks and a label_config"),
        (b'{"tasks": [], "label_config": "<View"}', 400, "label_config: not an xml"),
        (b'{"tasks": [], "label_config": "<View/>"}', 400, "no RectangleLabels"),
        (b'{"tasks": [], "label_config": "<!DOCTYPE a []><View/>"}', 400, "declares entities"),
        (b'{"tasks": [], "label_config": "<View\\u0000/>"}', 400, "label_config: not an xml"),
        (b'{"tasks": [], "label_config": "\\ud800"}', 400, "label_config: not an xml"),
    ],
)
def test_what_cannot_be_understood_is_a_sentence(
    backend: httpx.Client, body: bytes, status: int, why: str
) -> None:
    reply = backend.post("/predict", content=body)
    assert reply.status_code == status and why in reply.json()["error"]
    assert backend.get("/health").json()["status"] == "UP"


def test_labels_that_are_no_classes_are_told(backend: httpx.Client) -> None:
    other = BRUSH.replace(LABELS, '<Label value="car"/>')
    reply = backend.post("/setup", json={"schema": other})
    assert reply.status_code == 400
    assert "none of its labels (car) is one of the classes" in reply.json()["error"]


def test_other_paths_and_large_requests_are_refused(backend: httpx.Client) -> None:
    assert "nothing answers GET /etc" in backend.get("/etc").json()["error"]
    with socket.create_connection((backend.base_url.host, backend.base_url.port or 0)) as line:
        line.sendall(b"POST /predict HTTP/1.1\r\nContent-Length: 1099511627776\r\n\r\n")
        said = b"".join(iter(lambda: line.recv(4096), b"")).decode()
    assert " 413 " in said.splitlines()[0] and "at most serve.max_mb=64" in said


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /predict HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", "411"),
        (b"POST /predict HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", "411"),
        (b"PUT /predict HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "501"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", "414"),
    ],
)
def test_what_is_no_request_is_refused_in_json(
    backend: httpx.Client, sent: bytes, status: str
) -> None:
    with socket.create_connection((backend.base_url.host, backend.base_url.port or 0)) as line:
        line.sendall(sent)
        head, _, body = b"".join(iter(lambda: line.recv(4096), b"")).partition(b"\r\n\r\n")
    assert f" {status} ".encode() in head.splitlines()[0] and b"Connection: close" in head
    assert "error" in json.loads(body)


def test_a_password_is_asked_for(models: Models) -> None:
    for client in served(models, "serve.password=secret"):
        assert client.get("/health").status_code == 401
        assert client.post("/predict", content=b"{}").status_code == 401
        assert client.get("/health", auth=("annotate", "wrong")).status_code == 401
        assert client.get("/health", auth=("annotate", "secret")).status_code == 200


def test_uploads_are_fetched_with_the_token_and_from_nowhere_else(
    models: Models, stills: Path
) -> None:
    """A server that stands for Label Studio's own."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    picture = sorted(stills.glob("*.png"))[0].read_bytes()
    seen: list[str | None] = []

    class Uploads(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization"))
            if self.path == "/data/upload/away.png":
                self.send_response(302)
                self.send_header("Location", "http://127.0.0.1:1/")
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(picture)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    uploads = ThreadingHTTPServer(("127.0.0.1", 0), Uploads)
    threading.Thread(target=uploads.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{uploads.server_address[1]}"
    keys = (f"serve.label_studio='{url}'", "serve.token=abc")
    for client in served(models, *keys):
        found, away = ask(
            client,
            {"data": {"image": "/data/upload/1/a.png"}},
            {"data": {"image": "/data/upload/away.png"}},
        )
        assert found["result"] and seen[0] == "Token abc"
        assert "the host answers 302" in away["error"]
    uploads.shutdown()
    uploads.server_close()


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        ([], "expected `annotate serve label_studio prompts=...`"),
        (["cvat"], "serve cvat: expected `annotate serve label_studio"),
        (["label_studio", "models=tiny", "prompts=none.txt"], "none.txt"),
        (
            ["label_studio", "models=tiny", f"prompts={PROMPTS}", "serve.host=0.0.0.0"],
            "serve.host=0.0.0.0: others reach it there; set a password",
        ),
        (["label_studio", "models=tiny", "serve.prot=1"], "serve.prot: no such key"),
    ],
)
def test_a_wrong_command_is_one_line(
    capsys: pytest.CaptureFixture[str], argv: list[str], why: str
) -> None:
    from annotate.runner.command import run_command

    assert run_command(__main__._serve, argv) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert why in said[-1] and len(said) == 1
