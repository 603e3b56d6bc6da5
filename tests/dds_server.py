"""A service on this machine that behaves as the vendor's cloud is documented to, and can fail.

It finds regions of the hue that the first word of a text names, so what is right is known.
"""

from __future__ import annotations

import base64
import json
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

TOKEN = "secret-5f1c-token"
HUES = {"red": 0, "yellow": 30, "green": 60, "cyan": 90, "blue": 120}  # OpenCV's, 0..179
LEAST_AREA_PX = 20
APIS = {
    "/v2/task/dinox/detection": ("DINO-X-1.0",),
    "/v2/task/grounding_dino/detection": tuple(
        f"GroundingDino-{version}" for version in ("1.6-Pro", "1.6-Edge", "1.5-Pro", "1.5-Edge")
    ),
}


@dataclass
class Dds:
    """What a test may set, and what was asked."""

    url: str = ""
    token: str = TOKEN
    faults: deque[str] = field(default_factory=deque)  # of the next calls that begin a task
    poll_faults: deque[str] = field(default_factory=deque)  # of the next looks at one
    # What becomes of a picture's task: success | failed | endless | odd, or a fault of the call.
    fate: Callable[[np.ndarray], str] = lambda image: "success"
    waits: int = 1  # looks at a task before it has come to its end
    by_row: bool = False  # masks in the service's own coding, whose last run is left out
    largest_side: int = 10_000  # px; larger pictures fail, with an empty error
    change: Callable[[dict[str, Any]], None] = lambda found: None  # of an object that is found
    bodies: list[dict[str, Any]] = field(default_factory=list)  # of tasks that were begun
    sizes_hw: list[tuple[int, int]] = field(default_factory=list)  # of their pictures
    keys: list[str] = field(default_factory=list)  # of every call that begins a task
    tasks: dict[str, Task] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def paid(self) -> int:
        """Tasks that were begun: what the service would send a bill for."""
        return len(self.tasks)


@dataclass
class Task:
    key: str
    body: dict[str, Any]
    image: np.ndarray
    looks: int = 0


@contextmanager
def serve() -> Iterator[Dds]:
    dds = Dds()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(dds))
    server.daemon_threads = True
    dds.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.daemon = True
    thread.start()
    try:
        yield dds
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(dds: Dds) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else a reply's body waits for word of its head

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key = self.headers["Idempotency-Key"]
            if self.headers["Token"] != dds.token:
                return self._reply({"code": 10001, "msg": "token is wrong"}, 401)
            if self.path not in APIS:
                return self._reply({"code": 404, "msg": "no such page"}, 404)
            with dds.lock:
                dds.keys.append(key)
                fault = dds.faults.popleft() if dds.faults else ""
            if fault and fault != "cut after":
                return self._fail(fault)
            if body["model"] not in APIS[self.path]:
                return self._reply({"code": 10002, "msg": f"no model {body['model']}"}, 400)
            image = _decoded(body.pop("image"))
            if (fate := dds.fate(image)) not in ("success", "failed", "endless", "odd"):
                return self._fail(fate)
            with dds.lock:
                same = [name for name, task in dds.tasks.items() if task.key == key]
                name = same[0] if same else str(uuid.uuid4())
                if not same:
                    dds.tasks[name] = Task(key, body, image)
                    dds.bodies.append(body)
                    dds.sizes_hw.append(image.shape[:2])
            if fault:  # the task is begun, but whoever began it does not hear of it
                return self._fail("cut")
            self._reply({"code": 0, "msg": "ok", "data": {"task_uuid": name}})

        def do_GET(self) -> None:
            if self.headers["Token"] != dds.token:
                return self._reply({"code": 10001, "msg": "token is wrong"}, 401)
            task = dds.tasks.get(self.path.removeprefix("/v2/task_status/"))
            if task is None:
                return self._reply({"code": 404, "msg": "no such task"}, 404)
            with dds.lock:
                task.looks += 1
                fault = dds.poll_faults.popleft() if dds.poll_faults else ""
            if fault:
                return self._fail(fault)
            self._reply({"code": 0, "msg": "ok", "data": _state(dds, task)})

        def log_message(self, format: str, *args: Any) -> None:
            """Silence."""

        def _fail(self, fault: str) -> None:
            kind, _, detail = fault.partition(":")
            if kind == "later":
                self._reply({"code": 202001, "msg": "try again later"})
            elif kind == "json":
                self._send(200, b"<html>not json</html>", {})
            elif kind == "odd":
                self._reply({"code": 0, "msg": "ok", "data": {"task_uuid": 7}})
            elif kind == "echo":
                self._reply({"code": 5, "msg": f"headers were {dict(self.headers)}"}, 400)
            elif kind == "hang":
                threading.Event().wait(float(detail))
                self.close_connection = True
            elif kind == "cut":
                self._send(200, b'{"code": 0, "data": {', {"Content-Length": "1000"})
                self.close_connection = True
            else:
                after = {"Retry-After": detail} if detail else {}
                body = json.dumps({"code": 1, "msg": f"fault {kind}"}).encode()
                self._send(int(kind), body, after)

        def _reply(self, said: dict[str, Any], status: int = 200) -> None:
            self._send(status, json.dumps(said).encode(), {})

        def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    return Handler


def _state(dds: Dds, task: Task) -> dict[str, Any]:
    fate = dds.fate(task.image)
    if max(task.image.shape) > dds.largest_side:
        return {"status": "failed", "error": ""}
    if fate == "endless" or task.looks <= dds.waits:
        return {"status": "running" if task.looks > 1 else "waiting"}
    if fate == "failed":
        return {"status": "failed", "error": "CUDA out of memory"}
    if fate == "odd":
        return {"status": "success", "result": {"objects": [{"category": "red", "bbox": [1, 2]}]}}
    return {"status": "success", "error": None, "result": {"objects": [*_objects(dds, task)]}}


def _objects(dds: Dds, task: Task) -> Iterator[dict[str, Any]]:
    hsv = cv2.cvtColor(task.image, cv2.COLOR_RGB2HSV)
    for text in task.body["prompt"]["text"].split("."):
        hue = HUES.get(text.split()[0].lower())
        if hue is None:
            continue
        away = np.abs((hsv[..., 0].astype(int) - hue + 90) % 180 - 90)
        drawn = ((away < 12) & (hsv[..., 1] > 120) & (hsv[..., 2] > 80)).astype(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(drawn)
        for label, (x, y, w, h, area) in enumerate(stats.tolist()):
            score = 0.25 + 0.7 * area / max(w * h, 1)
            if label == 0 or area < LEAST_AREA_PX or score < task.body["bbox_threshold"]:
                continue
            found: dict[str, Any] = {"category": text, "score": score}
            found["bbox"] = [float(v) for v in (x, y, x + w, y + h)]
            if "mask" in task.body["targets"]:
                own = dds.by_row or task.body.get("mask_format") != "coco_rle"
                found["mask"] = (by_row if own else by_column)(labels == label)
            dds.change(found)
            yield found


def by_column(mask: np.ndarray) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "counts": rle["counts"].decode("ascii"),
        "size": list(mask.shape),
        "format": "coco_rle",
    }


def by_row(mask: np.ndarray) -> dict[str, Any]:
    """The service's own coding: rows, and what follows the last pixel of the object left out."""
    flat = np.concatenate([[0], mask.reshape(-1).astype(int), [0]])
    edges = np.flatnonzero(np.diff(flat))
    runs = np.diff(np.concatenate([[0], edges])).tolist()
    return {"counts": string_of(runs), "size": list(mask.shape), "format": "dds_rle"}


def string_of(runs: list[int]) -> str:
    """Run lengths in COCO's string coding, written from its definition."""
    text = ""
    for index, run in enumerate(runs):
        number = run - runs[index - 2] if index > 2 else run
        more = True
        while more:
            digit = number & 31
            number >>= 5
            more = number != (-1 if digit & 16 else 0)
            text += chr((digit | 32 if more else digit) + 48)
    return text


def _decoded(uri: str) -> np.ndarray:
    head, _, data = uri.partition(",")
    assert head in ("data:image/jpeg;base64", "data:image/png;base64")
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[
        ..., ::-1
    ]
