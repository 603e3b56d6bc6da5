"""DINO-X and Grounding DINO 1.5 and 1.6, which answer in the cloud of DeepDataSpace (DDS) alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from annotate.config.settings import AtLeast0, AtLeast1, Share
from annotate.data.checks import within
from annotate.data.types import ClassList, Image
from annotate.ground.base import Candidates, Grounder
from annotate.ground.dds import address, picture
from annotate.ground.dds.answers import Answers
from annotate.ground.dds.asking import Asker, Request
from annotate.ground.dds.candidates import Reading
from annotate.ground.dds.masks import ASKED
from annotate.ground.dds.service import Calls, Service
from annotate.ground.dds.texts import Texts, requests_of


class CloudDino(Grounder):
    """Sends each picture with the class list to the service, and keeps what it answers.

    Class lists longer than one request are cut into several, each class whole.
    """

    decides_nothing = ("endpoint", "budget", "give_up", "calls")
    services = ("endpoint",)

    def __init__(
        self,
        *,
        model: str,
        api: Literal["dinox", "grounding_dino"],
        masks: bool,
        iou_threshold: Share,
        phrases: AtLeast1,
        longest_side: Annotated[int, within(64, 8192)],
        jpeg_quality: Annotated[int, within(1, 100)] | None,
        endpoint: str | None,
        budget: AtLeast0 | None,
        give_up: AtLeast1,
        calls: Calls,
    ) -> None:
        self._asks: dict[str, Any] = {"model": model, "iou_threshold": iou_threshold}
        self._asks |= {"targets": ["bbox", "mask"] if masks else ["bbox"]}
        if masks:
            self._asks |= {"mask_format": ASKED}
        self._url, self._path = address.url(endpoint), f"/v2/task/{api}/detection"
        self._phrases = phrases
        self._longest_side, self._jpeg_quality = longest_side, jpeg_quality
        self._budget, self._give_up, self._calls = budget, give_up, calls
        self._answers = Answers()
        self._reading = Reading(masks=masks)

    def check(self) -> None:
        """Whether there is a key. Raises ConfigError."""
        address.token()

    def keep_in(self, folder: Path) -> None:
        """Keep answers in `answers/` of the run folder."""
        self._answers.keep_in(folder)

    def load(self, classes: ClassList) -> None:
        """Make requests of the class list; nothing is sent. See Grounder. ConfigError: no key."""
        self._texts = requests_of(classes, self._phrases)
        self._service = Service(self._url, address.token(), self._calls)
        self._asker = Asker(
            self._service,
            self._answers,
            self._path,
            at_once=self._calls.at_once,
            budget=self._budget,
            give_up=self._give_up,
        )

    def find(self, images: Sequence[Image], floor: float) -> list[Candidates]:
        """See Grounder. Several requests are under way at a time."""
        requests = [self._requests(image, floor) for image in images]
        answers = self._asker.answers([request for row in requests for request in row])
        return [
            self._reading.candidates(
                [(t, answers[r.digest]) for t, r in zip(self._texts, row, strict=True)],
                sent_hw=self._sent_size(image),
                size_hw=(image.shape[0], image.shape[1]),
                floor=floor,
            )
            for image, row in zip(images, requests, strict=True)
        ]

    def _requests(self, image: Image, floor: float) -> list[Request]:
        """One for each part of the class list. What changes the answer is in the digest."""
        pixels = picture.digest(image)
        requests = []
        for texts in self._texts:
            asked = self._asked(texts, floor)
            sent = [self._longest_side, self._jpeg_quality]
            whole = json.dumps([self._service.host, self._path, asked, sent, pixels])
            digest = hashlib.sha256(whole.encode()).hexdigest()
            requests.append(Request(digest, partial(self._body, image, asked)))
        return requests

    def _asked(self, texts: Texts, floor: float) -> dict[str, Any]:
        prompt = {"type": "text", "text": texts.prompt}
        return {**self._asks, "prompt": prompt, "bbox_threshold": floor}

    def _body(self, image: Image, asked: Mapping[str, Any]) -> dict[str, Any]:
        size = self._sent_size(image)
        return {**asked, "image": picture.data_uri(image, size, self._jpeg_quality)}

    def _sent_size(self, image: Image) -> tuple[int, int]:
        return picture.sent_size((image.shape[0], image.shape[1]), self._longest_side)

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Who answers. Which weights that are is known to the service alone."""
        return {
            "model": self._asks["model"],
            "service": f"DeepDataSpace cloud API, {self._path}",
            "host": self._service.host,
        }

    @property
    def tally(self) -> Mapping[str, int]:
        """Requests and answers, and what of these was left out."""
        counts = self._asker.counts + self._reading.counts
        tried_again, damaged = self._service.tried_again, self._answers.damaged
        if tried_again:
            counts["calls tried again"] = tried_again
        if damaged:
            counts["damaged answers"] = damaged
        return dict(counts)
