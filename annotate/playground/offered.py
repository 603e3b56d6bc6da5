"""What there is to choose beside an upload: items of a dataset, of a run, or of the demo."""

from __future__ import annotations

from dataclasses import dataclass

from annotate.config.settings import PlaygroundCommand
from annotate.data.types import Item, Media
from annotate.errors import ConfigError
from annotate.playground import class_text
from annotate.record.run_folder import Run
from annotate.runner.plan import dataset_of, sample

MOST = 500  # names that are listed; any other may be written


@dataclass(frozen=True, slots=True)
class Offered:
    """Items by their names, and the class list that goes with them."""

    items: tuple[Item, ...]
    what: str  # they are of
    prompts: str = ""  # text of a class list that comes with them; "": none does

    def names(self, media: Media) -> list[str]:
        """Of pictures or clips, in their order; of many some, spread over all."""
        own = tuple(item for item in self.items if item.media == media)
        return [item.name for item in sample(own, MOST)]

    def find(self, name: str, media: Media) -> Item:
        """Raises ConfigError where there is none of that name."""
        for item in self.items:
            if item.name == name and item.media == media:
                return item
        kind = "clip" if media == "video" else "picture"
        raise ConfigError(f"{name}: no {kind} of {self.what} is called so")


def offered(command: PlaygroundCommand, run: Run | None) -> Offered:
    """What the command names. The demo is generated where it is asked for. Raises AnnotateError."""
    if run is not None:
        items = tuple(run.source(name, media) for name, media in run.items_with_pictures())
        return Offered(items, f"run={run.shown()}")
    found = dataset_of(command)
    prompts = class_text.text_of(command.prompts) if command.prompts is not None else ""
    return Offered(found.items, f"dataset={command.dataset.name or command.dataset.path}", prompts)
