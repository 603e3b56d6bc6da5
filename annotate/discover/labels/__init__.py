"""Folders and files of labels that other tools, and our own exports, write: one reader a format.

Whatever the format, what comes out is the content of a COCO json, which `coco_file` checks entry by
entry. A picture's `frame_id` is known where our exports say it, in `pictures.jsonl`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from xml.etree.ElementTree import ParseError

from annotate.discover.labels.contents import Contents
from annotate.errors import ConfigError, MediaError, one_line

# What each is called, in the order in which a folder is tried.
FORMATS = {
    "davis": "a folder of DAVIS",
    "voc": "a folder of Pascal VOC",
    "mots": "a folder of MOTS",
    "mot": "a folder of MOTChallenge",
    "kitti": "a folder of KITTI",
    "cvat": "an xml of CVAT",
    "label_studio": "tasks of Label Studio",
    "huggingface": "an imagefolder of Hugging Face",
    "webdataset": "tars of WebDataset",
    "yolo": "a folder of YOLO",
    "coco_panoptic": "a folder of COCO panoptic",
    "coco": "a folder of COCO",
    "labelme": "a folder of LabelMe",
}


def detect(path: Path) -> str | None:
    """The format of a folder, or of a file of one; None for one that nobody knows."""
    found = (name for name in FORMATS if import_module(f"{__name__}.{name}").is_one(path))
    return next(found, None)


def read(path: Path | str, name: str, *, key: str) -> Contents:
    """Read labels of a format. ConfigError: what is wrong; `key` is the setting that names them."""
    try:
        contents: Contents = import_module(f"{__name__}.{name}").read(path)
    except KeyError as error:
        raise ConfigError(f"{key}={path}: not {FORMATS[name]} ({error} is missing)") from error
    except (OSError, ValueError, TypeError, IndexError, ParseError, MediaError) as error:
        raise ConfigError(f"{key}={path}: not {FORMATS[name]} ({one_line(error)})") from error
    if not contents.images:
        raise ConfigError(f"{key}={path}: is {FORMATS[name]} without a picture")
    return contents
