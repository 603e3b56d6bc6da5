"""Label Studio's contract over a real socket: predictions, and what is refused."""

from __future__ import annotations

import base64
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
from annotate.serve import __main__
from annotate.serve.annotating import Annotating
from annotate.serve.label_studio import LabelStudio
from annotate.serve.pictures import PictureSource
from annotate.serve.server import make_server
from tests.serve.conftest import PROMPTS, command

LABELS = "".join(f'<Label value="{n}"/>' for n in ("Red circle", "blue_square", "green triangle"))
BRUSH = f'<View><Image name="img" value="$image"/><BrushLabels name="b" toName="img">{LABELS}</BrushLabels></View>'  # noqa: E501
BOTH = BRUSH.replace(
    "</View>", f'<RectangleLabels name="r" toName="img">{LABELS}</RectangleLabels></View>'
)
POLYGONS = BRUSH.replace("BrushLabels", "PolygonLabels")


@pytest.fixture(scope="module")
def backend(annotating: Annotating, stills: Path) -> Iterator[httpx.Client]:
    yield from served(annotating, f"serve.files={stills}", "serve.port=1")


def served(annotating: Annotating, *keys: str) -> Iterator[httpx.Client]:
    """A client of a server at a port that is free, with these settings."""
    settings = command(*keys).serve
    pictures = PictureSource(settings, annotating.max_pixels)
    label_studio = LabelStudio(annotating, pictures.read)
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
    reply = client.post("/predict", json={"tasks": list(tasks), "label_config": config, **more})
    assert reply.status_code == 200, reply.text
    results: list[Any] = reply.json()["results"]
    return results


def test_it_is_up_and_says_who_it_is(backend: httpx.Client) -> None:
    for path in ("/", "/health"):
        said = backend.get(path).json()
        assert said["status"] == "UP" and said["model_version"].startswith("annotate 0")
    said = backend.post("/setup", json={"project": "1.2", "schema": BRUSH}).json()
    assert said["model_version"].startswith("annotate 0")
    assert backend.post("/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 200


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
    ],
)
def test_one_picture_that_cannot_be_had_does_not_lose_the_others(
    backend: httpx.Client, stills: Path, said: str, why: str
) -> None:
    name = sorted(stills.glob("*.png"))[0].name
    broken, whole = ask(backend, {"data": {"image": said}}, local(name))
    assert broken["result"] == [] and why in broken["error"]
    assert whole["result"] and "error" not in whole


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


def test_a_password_is_asked_for(annotating: Annotating) -> None:
    for client in served(annotating, "serve.password=secret"):
        assert client.get("/health").status_code == 401
        assert client.post("/predict", content=b"{}").status_code == 401
        assert client.get("/health", auth=("annotate", "wrong")).status_code == 401
        assert client.get("/health", auth=("annotate", "secret")).status_code == 200


def test_uploads_are_fetched_with_the_token_and_from_nowhere_else(
    annotating: Annotating, stills: Path
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
    for client in served(annotating, *keys):
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
        (["label_studio", "models=tiny"], "prompts"),
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
