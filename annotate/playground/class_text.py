"""The class list as it stands in the page's field: any text that `prompts=` takes as a file."""

from __future__ import annotations

import filecmp
import re
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from annotate.data.examples import Example
from annotate.data.types import ClassList, ClassSpec
from annotate.discover.class_list import class_list_to_yaml, load_prompts
from annotate.errors import PromptError
from annotate.store.remote import is_url, read_text

EXAMPLES = "examples"  # folder beside the class list, of pictures that `like:` names
ELSEWHERE = "only objects that were clicked on here can be examples"


def write(text: str, folder: Path) -> str:
    """Write it as a file of a folder; what the file is called there."""
    name = "classes.yaml" if _is_yaml(text) else "classes.txt"
    (folder / name).write_text(text, encoding="utf-8")
    return name


def _is_yaml(text: str) -> bool:
    """Whether it is no list of lines; a class may well be called `[brand] logo` or `classes`."""
    lines = [line.strip() for line in text.splitlines()]
    first = next((line for line in lines if line and not line.startswith("#")), "")
    inline = first.startswith("[") and text.rstrip().endswith("]")
    return inline or re.match(r"- |classes\s*:\s*(\[|#|$)", first) is not None


def read(text: str, folder: Path) -> ClassList:
    """The classes. Raises PromptError, also for an example that is not of the folder `examples`."""
    name = write(text, folder)
    try:
        classes = load_prompts(str(folder / name))
    except PromptError as error:
        if "no such picture" in str(error):  # nor is it told which there are
            raise PromptError(f"like: {ELSEWHERE}") from error
        # It does not matter where the page keeps it.
        raise PromptError(str(error).replace(f"{folder}/", "")) from error
    allowed = (folder / EXAMPLES).resolve()
    for like in (like for spec in classes.classes for like in spec.like):
        # Else whoever sees the page could have any picture of this machine looked at.
        if not Example.parse(like).picture.resolve().is_relative_to(allowed):
            raise PromptError(f"like: {ELSEWHERE}")
    return classes


def with_example(
    text: str, folder: Path, class_name: str, picture: Path, box_xyxy: Sequence[float]
) -> str:
    """The class list with one more example of a class, whose picture is kept in the folder.

    Raises PromptError where the list has no such class any more.
    """
    classes = read(text, folder)
    if class_name not in classes.names:
        raise PromptError(f"{class_name!r} is no longer in the class list")
    kept = _kept(picture, folder / EXAMPLES)
    x0, y0, x1, y1 = (round(float(v), 1) for v in box_xyxy)
    example = str(Example(kept, (x0, y0, round(x1 - x0, 1), round(y1 - y0, 1))))
    specs = [
        replace(spec, like=tuple(dict.fromkeys([*spec.like, example])))
        if spec.name == class_name
        else spec
        for spec in classes.classes
    ]
    shown = [
        replace(spec, like=tuple(like.replace(f"{folder}/", "") for like in spec.like))
        for spec in specs
    ]
    return class_list_to_yaml(ClassList(tuple(shown)))


def _kept(picture: Path, folder: Path) -> Path:
    """A copy in the folder, where pictures of the same name may come from elsewhere."""
    folder.mkdir(exist_ok=True)
    for number in count(1):
        name = picture.name if number == 1 else f"{picture.stem}-{number}{picture.suffix}"
        if not (folder / name).exists():
            shutil.copyfile(picture, folder / name)
        if filecmp.cmp(picture, folder / name, shallow=False):
            return folder / name
    raise AssertionError("there is always another name")


def packed(text: str, folder: Path) -> Path:
    """The class list as a file to take away; as a zip with the pictures of its examples."""
    name = write(text, folder)
    if not any(spec.like for spec in read(text, folder).classes):
        return folder / name
    path = folder / "classes.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(folder / name, name)
        for picture in sorted((folder / EXAMPLES).iterdir()):
            packed.write(picture, f"{EXAMPLES}/{picture.name}")
    return path


def listed(classes: ClassList) -> str:
    """As text: a class a line where they are names alone, which is what most people write.

    Raises PromptError for examples, whose pictures a visitor could not be let choose.
    """
    if any(spec.like for spec in classes.classes):
        raise PromptError(
            "the class list has examples (like:), which are made on the page, by a click on an "
            "object; add prompts= with one that has none"
        )
    plain = ClassList(tuple(ClassSpec(name, (name,)) for name in classes.names))
    if classes == plain and not any(set(name) & set(":,#") for name in classes.names):
        return "\n".join(classes.names)
    return class_list_to_yaml(classes)


def text_of(prompts: Any) -> str:
    """What `prompts=` gives, as text: a file as it stands. Raises PromptError."""
    classes = load_prompts(prompts)  # whatever is wrong with it is told here
    text = listed(classes)
    if not isinstance(prompts, str):
        return text
    if is_url(prompts):
        return read_text(prompts)
    return Path(prompts).expanduser().read_text(encoding="utf-8-sig")
