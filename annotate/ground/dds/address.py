"""Where the service is and with which key it is asked: from the environment, and never shown."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from annotate.errors import ConfigError

TOKEN = "DDS_API_TOKEN"  # ours: the vendor's client takes it as an argument
ENDPOINT = "DDS_CLOUDAPI_ENDPOINT"  # the vendor's
DEFAULT = "https://api.deepdataspace.com"
HERE = ("localhost", "127.0.0.1", "::1")


def token() -> str:
    """The key of the service. Raises ConfigError, which does not show it."""
    said = os.environ.get(TOKEN, "").strip()
    if not said:
        raise ConfigError(f"{TOKEN} is not set: the service wants a key, export {TOKEN}=...")
    if not re.fullmatch(r"[!-~]+", said):  # an error of the HTTP library would show it
        raise ConfigError(f"{TOKEN}: holds a character that no key has, such as a blank")
    return said


def url(given: str | None) -> str:
    """`https://host` from a setting, else from the environment, else the vendor's.

    Raises ConfigError, without what may be secret in it. Only a service of this machine may be
    asked without encryption: the key goes along.
    """
    said, name = given, "ground.endpoint"
    if said is None:
        said, name = os.environ.get(ENDPOINT, "").strip() or DEFAULT, ENDPOINT
    said = said if "://" in said else f"https://{said}"
    try:
        parts = urlsplit(said)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(f"{name}: expected https://HOST, and no user, password or query in it")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in HERE):
        raise ConfigError(
            f"{name}: {parts.scheme}://{host} would carry the key in the open; use https"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
