"""Detectors on the embedded grounder, with the usual settings."""

from pathlib import Path

from annotate.config.settings import GroundSettings
from annotate.data.types import Frame, Item
from annotate.ground.base import Grounder
from annotate.ground.grounding_dino.captions import Captions
from annotate.ground.select import Detector

RULES = GroundSettings(
    every=1,
    floor=0.1,
    nms_iou=0.7,
    cross_class_iou=0.9,
    child_from=0.25,
    max_detections=300,
    batch=0,
)


class Loaded(Grounder):
    """A scorer that is at hand already, as a grounder."""

    def __init__(self, scorer, classes):
        self._captions = Captions(scorer, classes)

    def load(self, classes):
        raise AssertionError("it is loaded")

    def find(self, images, floor):
        return self._captions.find(images, floor)


def frames(*images) -> list[Frame]:
    """Pictures as stills that the pipeline is given."""
    return [Frame(Item(f"{n}.png", Path(f"{n}.png")), image) for n, image in enumerate(images)]


def detector(scorer, classes, settings=RULES) -> Detector:
    return Detector(Loaded(scorer, classes), settings)
