"""A run folder on a store, worked on in a folder of this machine: brought here, and sent there.

The store is the truth. `pull` makes the folder here equal to it, `push` makes it equal to the
folder here; both move only what differs. So another machine can go on where this one ended, and
what this one had not sent by then is lost: the unit at hand.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from annotate.errors import StorageError
from annotate.store import atomic
from annotate.store.cache_folder import cache_folder
from annotate.store.remote import Seen, Store
from annotate.store.remote_lock import RemoteLock, hold

NOTES = ".mirror"  # in the working copy: what the store is known to hold, a file for each
MADE_FROM_RECORDS = ("exports/", "media/", "contact_sheet.png")  # made again, never brought here
AT_ONCE = 8  # transfers
PAID_FOR = "answers/"  # of services; one that is here alone is brought there, and not removed
# In this order files are sent: nothing is on the store before what it depends on, and the summary,
# which says that all is there, comes last.
ORDER = ("config.yaml", "classes.yaml", "weights.yaml", "stamps/", "unfinished/", "records/")
LAST = "summary"


@dataclass(frozen=True, slots=True)
class _Note:
    """What is known of a file that the store holds."""

    seen: Seen  # on the store
    digest: str = ""  # of its content; "": not known
    here: tuple[int, int] | None = None  # bytes and time in ns of the same content here

    @classmethod
    def read(cls, path: Path) -> _Note | None:
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            here = said["here"] and (said["here"][0], said["here"][1])
            return cls((said["seen"][0], said["seen"][1]), said["digest"], here)
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return None


@dataclass(frozen=True, slots=True)
class WorkingCopy:
    """Can be sent to another machine, which then has a folder of its own."""

    url: str
    label: str = ""  # of a shard: shards have folders of their own, on one machine as well
    lock: RemoteLock | None = None  # of the process that holds it

    @property
    def path(self) -> Path:
        """The folder here: the same one for the same url."""
        url = self.url.rstrip("/")
        name = f"{url.rpartition('/')[2]}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"
        return cache_folder() / "runs" / (f"{name}-{self.label}" if self.label else name)

    def pull(self, *places: str) -> None:
        """Make what is here, below `places` or everywhere, equal to what the store holds.

        Exports and pictures are not brought here: they are made again from the records. Raises
        StorageError.
        """
        store = Store(self.url)
        found = (item for place in places or ("",) for item in store.files(place).items())
        there = {name: seen for name, seen in found if _counts(name)}
        for name in {*self._here(places), *self._noted(places)} - there.keys():
            if name.startswith(PAID_FOR):
                continue
            (self.path / name).unlink(missing_ok=True)
            self._note_path(name).unlink(missing_ok=True)

        def bring(name: str) -> None:
            path, note = self.path / name, self._note(name)
            if note is not None and note.seen == there[name]:
                if name.startswith(MADE_FROM_RECORDS) or note.here == _stat(path):
                    return
            elif name.startswith(MADE_FROM_RECORDS):
                self._write_note(name, _Note(there[name]))
                return
            store.fetch(name, path)
            self._write_note(name, _Note(there[name], _digest(path), _stat(path)))

        _all_at_once(bring, sorted(there))

    def push(self, *places: str) -> None:
        """Make what the store holds, below `places` or everywhere, equal to what is here.

        A file that is being written does not count yet. Raises StorageError.
        """
        if self.lock is not None:
            self.lock.check()
        store = Store(self.url)
        here = self._here(places)
        gone = set(self._noted(places)) - here.keys()

        def remove(name: str) -> None:
            store.remove(name)
            self._note_path(name).unlink(missing_ok=True)

        def send(name: str) -> None:
            path, note = here[name], self._note(name)
            stat = _stat(path)
            if stat is None or (note is not None and note.here == stat):
                return
            digest = _digest(path)
            if note is not None and note.digest == digest:
                self._write_note(name, replace(note, here=stat))
                return
            store.send(path, name)
            self._write_note(name, _Note(store.look(name), digest, stat))

        # Records that will be made anew go first: beside what they are made from then, they would
        # be taken for the new ones.
        outdated = {name for name in gone if name.startswith("records/")}
        _all_at_once(remove, sorted(outdated))
        for _, names in _ranked(here):
            _all_at_once(send, names)
        _all_at_once(remove, sorted(gone - outdated))

    @contextmanager
    def held(self) -> Iterator[WorkingCopy]:
        """Hold the run folder on the store against writers on other machines. StorageError."""
        whole = not self.label
        with hold(
            Store(self.url),
            f".lock-{self.label}" if self.label else ".lock",
            place=self._place(),
            rivals=lambda name: name.startswith(".lock-") if whole else name == ".lock",
        ) as taken:
            yield replace(self, lock=taken)

    def __reduce__(self) -> tuple[Any, ...]:
        return WorkingCopy, (self.url, self.label)  # a lock stays with the process that holds it

    def _place(self) -> str:
        """A name for the folder here that no folder of another machine shares."""
        path = self.path / NOTES / "place"
        if not path.is_file():
            atomic.write_text(path, atomic.unfinished(path).name)
        return path.read_text(encoding="utf-8")

    def _here(self, places: Iterable[str]) -> dict[str, Path]:
        """The finished files of the folder, by name."""
        found = (path for place in places or ("",) for path in _files(self.path / place))
        named = {path.relative_to(self.path).as_posix(): path for path in found}
        return {name: path for name, path in named.items() if _counts(name)}

    def _noted(self, places: Iterable[str]) -> Iterator[str]:
        """The files that the store is known to hold; only notes of these places are looked at."""
        root = self.path / NOTES
        for place in places or ("",):
            for path in (*_files(root / f"{place}.json"), *_files(root / place)):
                name = path.relative_to(root).as_posix()
                if name.endswith(".json"):
                    yield name.removesuffix(".json")

    def _note(self, name: str) -> _Note | None:
        return _Note.read(self._note_path(name))

    def _note_path(self, name: str) -> Path:
        return self.path / NOTES / f"{name}.json"

    def _write_note(self, name: str, note: _Note) -> None:
        path = self._note_path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            written = atomic.unfinished(path)
            # Not fsynced: a note that is lost costs one transfer.
            written.write_text(json.dumps(asdict(note)), encoding="utf-8")
            written.replace(path)
        except OSError as error:
            raise StorageError(f"{path}: cannot write it ({error.strerror or error})") from error


def _counts(name: str) -> bool:
    """Whether a file belongs to the run: locks, notes and what is being written are hidden."""
    return not any(part.startswith(".") for part in name.split("/"))


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    for path in place.rglob("*"):
        if path.is_file():
            yield path


def _ranked(names: Iterable[str]) -> list[tuple[int, list[str]]]:
    ranks: dict[int, list[str]] = {}
    for name in sorted(names):
        first = next((n for n, start in enumerate(ORDER) if name.startswith(start)), len(ORDER))
        ranks.setdefault(len(ORDER) + 1 if name.startswith(LAST) else first, []).append(name)
    return sorted(ranks.items())


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_size, seen.st_mtime_ns


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]


def _all_at_once(act: Callable[[str], None], names: Iterable[str]) -> None:
    """Do it for every name, several at a time; the first error is raised when all have ended."""
    names = list(names)
    if len(names) < 2:
        for name in names:
            act(name)
        return
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="transfer") as pool:
        for _ in pool.map(act, names):
            pass
