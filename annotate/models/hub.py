"""Where the files of a model are: inside the package, in a folder, or on the Hugging Face hub.

A model is named by a hub id, by a folder, or as `embedded:NAME`, a folder inside this package.
Whatever is wrong with one is a WeightsError of one line that names the model, the file and the
way out.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from huggingface_hub import constants, snapshot_download
from huggingface_hub import errors as hub_errors
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # httpx's, or httpx2's
from huggingface_hub.utils import logging as hub_logging
from huggingface_hub.utils.tqdm import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

from annotate.errors import WeightsError, one_line
from annotate.models.provenance import Provenance

EMBEDDED = "embedded:"


_PULL = (
    "fetch it where there is a network with `python -m annotate.models action=pull models=...`, "
    "or use models=tiny, whose weights are inside the package"
)


class Source(Protocol):
    """A model by name, and which files it consists of."""

    @property
    def model(self) -> str: ...
    @property
    def revision(self) -> str | None: ...
    def patterns(self) -> list[str]: ...
    def weights(self, folder: Path) -> tuple[Path, ...]: ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model whose files are all on this machine."""

    folder: Path
    weights: tuple[Path, ...]
    commit: str | None  # of the hub; None for a folder and for embedded weights

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.weights)


def fetch(
    source: Source, *, download: bool = True, tell: Callable[[str], None] = lambda line: None
) -> Fetched:
    """Bring all files of a model to this machine, from the hub only where they are not here yet.

    `tell` is given a line before the hub is asked. Raises WeightsError.
    """
    if source.model.startswith(EMBEDDED):
        folder = Path(__file__).parent / source.model.removeprefix(EMBEDDED)
        if not folder.is_dir():
            raise WeightsError(f"{source.model}: the package embeds no such model; use models=tiny")
        return Fetched(folder, source.weights(folder), commit=None)
    if (folder := Path(source.model).expanduser()).is_dir():
        folder = folder.resolve()
        return Fetched(folder, source.weights(folder), commit=None)
    if not re.fullmatch(r"\w[\w.-]*/[\w.-]+", source.model):
        raise WeightsError(
            f"{source.model}: no such folder, and not a hub id (owner/name) or {EMBEDDED}NAME"
        )
    if download and re.fullmatch(r"[0-9a-f]{40}", source.revision or ""):
        # A commit never changes: what is in the cache needs no word from the hub.
        with suppress(WeightsError):
            return _from_hub(source, download=False)
    if download:
        tell(f"fetching {source.model} from {constants.ENDPOINT}; it is kept for later runs")
    return _from_hub(source, download=download)


def _from_hub(source: Source, *, download: bool) -> Fetched:
    """By way of huggingface_hub, with its cache and its HF_HOME, HF_ENDPOINT, HF_TOKEN and
    HF_HUB_OFFLINE."""
    with _quiet_hub():
        try:
            folder = Path(
                snapshot_download(
                    source.model,
                    revision=source.revision,
                    allow_patterns=source.patterns(),
                    local_files_only=not download,
                )
            )
        except (OSError, ValueError, HTTPError) as error:
            raise WeightsError(f"{source.model}: {_hub_failure(source, error)}") from error
    return Fetched(folder, source.weights(folder), commit=folder.name)


def _hub_failure(source: Source, error: Exception) -> str:
    """What went wrong between here and the hub, and the way out."""
    hub = constants.ENDPOINT
    match error:
        case hub_errors.GatedRepoError():
            return f"is gated; accept its terms at {hub}/{source.model} and set HF_TOKEN"
        case hub_errors.RepositoryNotFoundError():
            return f"no such folder here, and no such repository for this HF_TOKEN at {hub}"
        case hub_errors.RevisionNotFoundError():
            return f"the repository has no revision {source.revision} at {hub}"
        case hub_errors.LocalEntryNotFoundError() | hub_errors.IncompleteSnapshotError():
            return f"{_absence(error)}; {_PULL}"
        case hub_errors.HfHubHTTPError() as answer:
            return f"{hub} answered {answer.response.status_code}; try again later, or {_PULL}"
        case HTTPError():
            return f"the connection to {hub} failed ({one_line(error)}); try again, or {_PULL}"
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return (
                f"the disk is full at {constants.HF_HUB_CACHE}; free some space there, "
                "or set HF_HOME to a folder on another disk"
            )
        case OSError() if "onsistency check" in str(error):
            return f"the download from {hub} came to another size; run the same command again"
        case _:
            return one_line(error)


def _absence(error: Exception) -> str:
    """Why the hub was not asked, or gave no answer, for files that are not in the cache."""
    cache = f"is not, or not wholly, in the cache {constants.HF_HUB_CACHE}"
    cause = error.__cause__
    if constants.HF_HUB_OFFLINE or cause is None:
        return f"{cache} and HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else cache
    if isinstance(cause, hub_errors.HfHubHTTPError):
        return f"{cache} and {constants.ENDPOINT} answered {cause.response.status_code}"
    return f"{cache} and {constants.ENDPOINT} cannot be reached"


def identified(source: Source, fetched: Fetched) -> Provenance:
    """What was fetched, with its sha256; WeightsError where that is not the hub's."""
    digests = [_digest(source.model, path) for path in fetched.weights]
    names = tuple(path.name for path in fetched.weights)
    sha256 = digests[0]
    if len(digests) > 1:
        listing = "".join(f"{d}  {n}\n" for d, n in zip(digests, names, strict=True))
        sha256 = hashlib.sha256(listing.encode()).hexdigest()
    return Provenance(source.model, source.revision, fetched.commit, sha256, names)


def _digest(model: str, path: Path) -> str:
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    # In the hub's cache a large file is a link to a blob named by the digest it should have.
    blob = path.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", blob.name) and blob.name != sha256:
        raise WeightsError(
            f"{model}: {path.name} is damaged, its sha256 is not the hub's; delete {blob} "
            "and run `python -m annotate.models action=pull models=...` again"
        )
    return sha256


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """No talk of huggingface_hub; its progress bar only where someone watches."""
    verbosity = hub_logging.get_verbosity()
    hide = not sys.stderr.isatty() and not are_progress_bars_disabled()
    hub_logging.set_verbosity(logging.ERROR)
    if hide:
        disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hub_logging.set_verbosity(verbosity)
        if hide:
            enable_progress_bars()
