"""A json file of anybody's: read whole, in any of the encodings that json may have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from annotate.errors import ConfigError, StorageError
from annotate.store.remote import is_url, read_text


def read_json(place: Path | str, *, what: str) -> dict[str, Any]:
    """The object in a json file, here or on a store, with or without a byte order mark.

    `what` names the setting and says what was expected, for the message. Raises ConfigError.
    """
    content = read_any_json(place, what=what)
    if not isinstance(content, dict):
        raise ConfigError(f"{what} (it holds no object with keys)")
    return content


def read_any_json(place: Path | str, *, what: str) -> Any:
    """As read_json, whatever the file holds."""
    try:
        return json.loads(read_text(place) if is_url(place) else Path(place).read_bytes())
    except RecursionError as error:
        raise ConfigError(f"{what} (nested too deeply)") from error
    except (StorageError, OSError, ValueError) as error:
        reason = error.strerror or error if isinstance(error, OSError) else error
        raise ConfigError(f"{what} ({' '.join(str(reason).split())[:300]})") from error
