"""`python -m annotate.models`: what a preset needs, fetching it ahead, checking it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

from annotate.config.compose import compose, typed
from annotate.config.settings import ModelsCommand
from annotate.config.shipped import conf_dir
from annotate.config.target import Target
from annotate.data.types import ClassList, ClassSpec
from annotate.errors import ConfigError, WeightsError
from annotate.ground.base import Grounder
from annotate.models.facts import facts
from annotate.models.hub import EMBEDDED, Source, fetch
from annotate.runner.command import DONE, REFUSED, run_command
from annotate.runner.terminal import complain
from annotate.segment.base import Segmenter
from annotate.verify.base import Verifier

Model = Grounder | Segmenter | Verifier
PRESETS = ("tiny", "fast", "balanced", "best")
ANY_CLASS = ClassList((ClassSpec("object", ("object",)),))  # a model is loaded for some class list
USAGE = """\
python -m annotate.models [action=list|pull|check] [models=PRESET] [ground.model=...] ...

  action=list   presets and models: licence, size, memory, whether they are here (default)
  action=pull   fetch what models=PRESET needs, so that a run needs no network
  action=check  load the models of models=PRESET for real
Presets: tiny, fast, balanced (default), best. Keys are those of python -m annotate."""


def main() -> None:
    """List, fetch or check models."""
    sys.exit(run_command(_models, sys.argv[1:]))


def _models(argv: list[str]) -> int:
    if "-h" in argv or "--help" in argv:
        print(USAGE)
        return DONE
    actions = {"list": _list, "pull": _pull, "check": _check}
    asked = [a.removeprefix("action=") for a in argv if a.startswith("action=")] or ["list"]
    if asked[-1] not in actions:
        raise ConfigError(f"action={asked[-1]}: expected one of {', '.join(actions)}")
    return actions[asked[-1]]([a for a in argv if not a.startswith("action=")])


def _compose(arguments: Sequence[str]) -> ModelsCommand:
    return typed(compose(arguments, "config"), ModelsCommand)


def _list(arguments: list[str]) -> int:
    chosen = [a.removeprefix("models=") for a in arguments if a.startswith("models=")]
    # A single key such as ground.model=... makes one composition of its own, not a set of presets.
    presets = PRESETS if not arguments else (chosen or ["balanced"])[-1:]
    rows = [("preset", "role", "model", "revision", "weights")]
    for preset in presets:
        command = _compose([*arguments, *([] if chosen else [f"models={preset}"])])
        for role, model in _models_of(command):
            if (source := _source(model)) is None:
                rows.append((preset, role, type(model).__name__, "-", "none to fetch"))
                continue
            rows.append((preset, role, source.model, source.revision or "-", _whereabouts(source)))
    _print_table(rows)
    if not arguments:
        names = {role: _not_shown(role) for role in ("ground", "segment", "verify")}
        # One of each role at a time: composing is what takes its time.
        together = [
            _compose([f"{role}={name}" for role, name in zip(names, row, strict=True) if name])
            for row in zip_longest(*names.values())
        ]
        for role, own in names.items():
            print()
            _print_table(list(_every(role, dict(zip(own, together, strict=False)))))
    return DONE


def _not_shown(role: str) -> list[str]:
    """The configs of a role that are no preset, which the table of presets shows."""
    shown = PRESETS if role in ("ground", "segment") else ()
    return sorted(p.stem for p in (conf_dir() / role).glob("*.yaml") if p.stem not in shown)


def _every(role: str, commands: Mapping[str, ModelsCommand]) -> Iterator[tuple[str, ...]]:
    """The configs of a role, with what is known of each."""
    yield (f"{role}=", "model", "licence", "parameters", "RAM on a CPU", "here")
    for name, command in commands.items():
        known = facts(role, name)
        target, _ = _of_role(command, role)
        parameters = f"{known.parameters:g} M" if known.parameters else "-"
        ram = f"{known.ram_gb:.1f} GB{'' if known.fits else ', more than here'}"
        yield (
            name,
            target.shown,
            known.licence + (f" (gated: {known.gated})" if known.gated else ""),
            parameters,
            ram if known.parameters else "-",
            known.needs or _whereabouts_of(command, role),
        )


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def _models_of(command: ModelsCommand) -> list[tuple[str, Model]]:
    return [
        *(("ground", part) for part in command.grounder.make(Grounder).parts),
        ("segment", command.segmenter.make(Segmenter)),
        *(("verify", v) for v in [command.verifier.make(Verifier)] if not v.is_none),
    ]


def _source(model: Model) -> Source | None:
    """Where its weights come from; None of a model that has none to be fetched."""
    found: Source | None = getattr(model, "source", None)
    return found


def _of_role(command: ModelsCommand, role: str) -> tuple[Target, type[Model]]:
    """What a command names for a role, and what it must be made from."""
    named: dict[str, tuple[Target, type[Model]]] = {
        "ground": (command.grounder, Grounder),
        "segment": (command.segmenter, Segmenter),
        "verify": (command.verifier, Verifier),
    }
    return named[role]


def _whereabouts_of(command: ModelsCommand, role: str) -> str:
    target, contract = _of_role(command, role)
    source = _source(target.make(contract))
    return "nothing to fetch" if source is None else _whereabouts(source)


def _whereabouts(source: Source) -> str:
    try:
        fetched = fetch(source, download=False)
    except WeightsError:
        return "not here"
    place = "embedded" if source.model.startswith(EMBEDDED) else "cached"
    if place == "cached" and fetched.commit is None:
        place = "folder"
    return f"{place}, {_size(fetched.size_bytes)}"


def _pull(arguments: list[str]) -> int:
    command = _compose(arguments)
    for _, model in _models_of(command):
        if (source := _source(model)) is None:
            print(f"{type(model).__name__}: no weights to fetch")
            continue
        fetched = fetch(source)
        names = ", ".join(path.name for path in fetched.weights)
        print(f"{source.model}: {names}, {_size(fetched.size_bytes)}, in {fetched.folder}")
    return DONE


def _check(arguments: list[str]) -> int:
    command = _compose(arguments)
    code = DONE
    for _, model in _models_of(command):
        try:
            if isinstance(model, Segmenter):
                model.load()
            else:
                model.load(ANY_CLASS)
            _report(model)
        except WeightsError as error:
            code = _complain(error)
    return code


def _report(model: Model) -> None:
    provenance = model.provenance
    at = f" at {provenance['commit']}" if provenance.get("commit") else ""
    size = f"{model.parameters:,} parameters, " if hasattr(model, "parameters") else ""
    made_of = f"sha256 {provenance['sha256']}" if "sha256" in provenance else provenance["host"]
    print(f"ok: {provenance['model']}{at}: {size}{made_of}")


def _complain(error: WeightsError) -> int:
    """Both models are checked, so a first failure does not end the command."""
    complain(f"error: {error}")
    return REFUSED


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB"


if __name__ == "__main__":
    main()
