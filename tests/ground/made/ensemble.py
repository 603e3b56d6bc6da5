"""The embedded Grounding DINO and a tiny OWLv2 together."""

from pathlib import Path

from tests.ground.made import owlv2


def overrides(folder: Path) -> list[str]:
    _, model, _ = owlv2.overrides(folder)
    folder_of_owlv2 = model.partition("=")[2]
    return ["ground=[tiny,owlv2]", f"ground.members.owlv2.model={folder_of_owlv2}"]
