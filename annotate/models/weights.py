"""All weights enter through this door: found, fetched, hashed, and loaded without running a pickle.

A model is named by a hub id, by a folder, or as `embedded:NAME`, a folder inside this package.
Whatever is wrong with one is a WeightsError of one line that names the model, the file and the
way out.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import pickle
import re
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from huggingface_hub import constants, snapshot_download
from huggingface_hub import errors as hub_errors
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # httpx's, or httpx2's
from huggingface_hub.utils import logging as hub_logging
from huggingface_hub.utils.tqdm import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)
from safetensors import SafetensorError, safe_open

from annotate.errors import ConfigError, WeightsError
from annotate.models import sam2

GROUNDER_TYPES = ("grounding-dino", "mm-grounding-dino")  # config.json: model_type
EMBEDDED = "embedded:"

_PULL = (
    "fetch it where there is a network with `python -m annotate.models action=pull models=...`, "
    "or use models=tiny, whose weights are inside the package"
)
_CONFIG_FILES = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
_NEEDED_FILES = (  # one of each
    ("config.json",),
    ("preprocessor_config.json", "processor_config.json"),
    ("tokenizer.json", "vocab.txt"),
)


@dataclass(frozen=True, slots=True)
class GrounderSource:
    """Where a Grounding DINO comes from: a folder in the layout of transformers."""

    model: str
    revision: str | None = None

    def patterns(self) -> list[str]:
        return [*_CONFIG_FILES, "*.safetensors", "*.safetensors.index.json"]

    def weights(self, folder: Path) -> tuple[Path, ...]:
        """The weights files; WeightsError where the folder is not such a model."""
        for either in _NEEDED_FILES:
            if not any((folder / name).is_file() for name in either):
                raise WeightsError(
                    f"{self.model}: has no {' or '.join(either)} (looked in {folder}); "
                    "a grounder is saved with its processor"
                )
        files = tuple(sorted(folder.glob("*.safetensors")))
        if not files:
            raise WeightsError(
                f"{self.model}: has no .safetensors weights (looked in {folder}); a pickle such as "
                "pytorch_model.bin is never loaded, convert it to model.safetensors first"
            )
        return files


@dataclass(frozen=True, slots=True)
class SegmenterSource:
    """Where a SAM 2 comes from: a checkpoint in the layout of sam2, and its yaml."""

    model: str
    checkpoint: str
    architecture: str
    revision: str | None = None

    def patterns(self) -> list[str]:
        packaged = sam2.packaged_architecture(self.architecture)
        return [self.checkpoint] if packaged else [self.checkpoint, self.architecture]

    def weights(self, folder: Path) -> tuple[Path, ...]:
        """The checkpoint; WeightsError where the folder lacks it."""
        if not (folder / self.checkpoint).is_file():
            raise WeightsError(
                f"{self.model}: has no {self.checkpoint} (looked in {folder}); "
                "set segment.checkpoint to the file to load"
            )
        return (folder / self.checkpoint,)

    def yaml(self, folder: Path) -> Path:
        path = sam2.packaged_architecture(self.architecture) or folder / self.architecture
        if not path.is_file():
            raise WeightsError(
                f"{self.model}: no {self.architecture}, neither inside the package sam2 nor in "
                f"{folder}; set segment.architecture"
            )
        return path


class Source(Protocol):
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


@dataclass(frozen=True, slots=True)
class Provenance:
    """Which weights these are, for the run's record."""

    model: str
    revision: str | None  # as asked for
    commit: str | None  # what that was on the hub; None for a folder and for embedded weights
    sha256: str  # of the weights file; of the list of them where there are several
    weights: tuple[str, ...]  # file names


def choose_device(name: str) -> torch.device:
    """The device of that name, `auto` being the best one here; on CUDA, TF32 is switched on."""
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, here in present.items() if here)
    if name not in present:
        raise ConfigError(f"device={name}: expected auto, cuda, mps or cpu")
    if not present[name]:
        raise ConfigError(f"device={name}: PyTorch sees no such device here; use device=auto")
    if name == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
    return torch.device(name)


def fetch(source: Source, *, download: bool = True) -> Fetched:
    """Bring all files of a model to this machine, from the hub only where they are not here yet."""
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
    return _from_hub(source, download=download)


def load_grounding_dino(
    source: GrounderSource, device: torch.device
) -> tuple[Any, Any, Provenance]:
    """The model (float32, in eval mode, on the device), its processor, and what was loaded."""
    fetched = fetch(source)
    config = _read_config(source.model, fetched.folder / "config.json")
    if config.get("model_type") not in GROUNDER_TYPES:
        raise WeightsError(
            f"{source.model}: config.json says model_type {config.get('model_type')!r}; "
            f"a grounder is one of {', '.join(GROUNDER_TYPES)}"
        )
    for path in fetched.weights:
        _check_safetensors(source.model, path)
    provenance = _provenance(source, fetched)
    with _quiet_transformers():
        import transformers  # seconds of import that listing and fetching can do without

        library: Any = transformers  # untyped
        safe = {"local_files_only": True, "trust_remote_code": False}
        try:
            processor = library.AutoProcessor.from_pretrained(fetched.folder, **safe)
            model, report = library.AutoModelForZeroShotObjectDetection.from_pretrained(
                fetched.folder,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported, and refused below with their names
                **safe,
            )
        # The files are foreign, and transformers meets bad ones with errors of a dozen kinds.
        except Exception as error:
            raise WeightsError(
                f"{source.model}: transformers cannot load {fetched.folder}: {_one_line(error)}"
            ) from error
    _check_loaded(source.model, fetched.weights, model, report)
    return model.eval().requires_grad_(False).to(device), processor, provenance


def load_sam2(source: SegmenterSource, device: torch.device) -> tuple[torch.nn.Module, Provenance]:
    """The SAM2Base (float32, in eval mode, on the device) and what was loaded."""
    fetched = fetch(source)
    (path,) = fetched.weights
    architecture = source.yaml(fetched.folder)
    tensors = _read_checkpoint(source.model, path)
    provenance = _provenance(source, fetched)
    model = sam2.build(architecture)
    _check_fits(source.model, path, architecture, tensors, model.state_dict())
    model.load_state_dict(tensors, strict=True)
    return model.to(device), provenance


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
            return f"the connection to {hub} failed ({_one_line(error)}); try again, or {_PULL}"
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return (
                f"the disk is full at {constants.HF_HUB_CACHE}; free some space there, "
                "or set HF_HOME to a folder on another disk"
            )
        case OSError() if "onsistency check" in str(error):
            return f"the download from {hub} came to another size; run the same command again"
        case _:
            return _one_line(error)


def _absence(error: Exception) -> str:
    """Why the hub was not asked, or gave no answer, for files that are not in the cache."""
    cache = f"is not, or not wholly, in the cache {constants.HF_HUB_CACHE}"
    cause = error.__cause__
    if constants.HF_HUB_OFFLINE or cause is None:
        return f"{cache} and HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else cache
    if isinstance(cause, hub_errors.HfHubHTTPError):
        return f"{cache} and {constants.ENDPOINT} answered {cause.response.status_code}"
    return f"{cache} and {constants.ENDPOINT} cannot be reached"


def _provenance(source: Source, fetched: Fetched) -> Provenance:
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


def _read_config(model: str, path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{model}: {path} cannot be read: {_one_line(error)}") from error
    return config if isinstance(config, dict) else {}


def _check_safetensors(model: str, path: Path) -> None:
    """Read the header, which knows how long the file must be."""
    try:
        with safe_open(path, framework="pt"):
            pass
    except (OSError, SafetensorError) as error:
        raise WeightsError(_damaged(model, path, error)) from error


def _damaged(model: str, path: Path, error: Exception | None = None) -> str:
    reason = f" ({_one_line(error)})" if error else ""
    way_out = f"delete {path.resolve()} and fetch it again"
    return f"{model}: {path} is truncated or damaged{reason}; {way_out}"


def _check_loaded(
    model_name: str, files: Sequence[Path], model: torch.nn.Module, report: Mapping[str, Any]
) -> None:
    """transformers only warns of tensors that do not fit, and puts random numbers there instead."""
    resized = sorted(name for name, *_ in report["mismatched_keys"])
    _raise_unfit(
        f"{model_name}: {files[0].name} does not fit config.json",
        {
            "missing": sorted(set(report["missing_keys"]) - set(resized)),
            "of another shape": resized,
        },
        "take both from the same place",
    )
    # A release that ties heads which the file keeps apart would give wrong boxes without a word.
    state = model.state_dict()
    for path in files:
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (not a dict)
                if name in state and not torch.equal(tensors.get_tensor(name).float(), state[name]):
                    raise WeightsError(
                        f"{model_name}: this release of transformers changes {name} of {path.name} "
                        "on loading; install the release that requirements.lock names"
                    )


def _read_checkpoint(model: str, path: Path) -> dict[str, torch.Tensor]:
    # Before any unpickling: a file cut short has lost the directory at its end, and a bare pickle
    # never had one.
    if not zipfile.is_zipfile(path):
        raise WeightsError(
            _damaged(model, path) + "; if it is whole it is a bare pickle, and those are not loaded"
        )
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # pickle, zip, tensor and key errors, by what the bytes happen to be
        if isinstance(error, pickle.UnpicklingError) and "Unsupported operand" not in str(error):
            raise WeightsError(
                f"{model}: {path} is refused, it holds a pickle that wants to run code; "
                "only plain tensors are loaded"
            ) from error
        raise WeightsError(_damaged(model, path)) from error
    tensors = loaded.get("model") if isinstance(loaded, dict) else None
    if not isinstance(tensors, dict):
        raise WeightsError(f'{model}: {path} is not a SAM 2 checkpoint: it has no "model" entry')
    return tensors


def _check_fits(
    model: str,
    path: Path,
    architecture: Path,
    given: Mapping[str, torch.Tensor],
    wanted: Mapping[str, torch.Tensor],
) -> None:
    shared = sorted(given.keys() & wanted.keys())
    _raise_unfit(
        f"{model}: {path.name} does not fit {architecture.name}",
        {
            "missing": sorted(wanted.keys() - given.keys()),
            "unknown": sorted(given.keys() - wanted.keys()),
            "of another shape": [k for k in shared if given[k].shape != wanted[k].shape],
        },
        "set segment.architecture to the yaml of this checkpoint",
    )


def _raise_unfit(what: str, wrong: Mapping[str, Sequence[str]], way_out: str) -> None:
    found = "; ".join(
        f"{len(names)} {how} ({_first(names)})" for how, names in wrong.items() if names
    )
    if found:
        raise WeightsError(f"{what}: tensors {found}; {way_out}")


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


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


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No talk and no bars of transformers; what matters comes back as a WeightsError."""
    from transformers.utils import logging as transformers_logging

    library: Any = transformers_logging  # untyped
    verbosity, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity(logging.CRITICAL)
    library.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        library.set_verbosity(verbosity)
        if bars:
            library.enable_progress_bar()
