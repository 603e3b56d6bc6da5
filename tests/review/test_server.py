"""The guard before FiftyOne's server lets through what its own page asks for, and no more."""

import asyncio

import pytest

from annotate.review.server import Guard

OWN = ("127.0.0.1:5151", "localhost:5151")


def first_of(path="/fiftyone", query="", kind="http", host=OWN[0], **headers):
    """How the answer begins to a request to a guarded app that says 200 to everything."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})

    async def send(message):
        sent.append(message)

    fields = [(b"host", host.encode())] if host is not None else []
    fields += [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "path": path, "query_string": query.encode(), "headers": fields}
    guard = Guard(app, OWN, lambda path: path == "/data/a b.png", "/datasets/demo?view=queue")
    asyncio.run(guard(scope, None, send))
    return sent[0]


def answer(*args, **asked):
    """Its status; 0: a closed socket."""
    return first_of(*args, **asked).get("status", 0)


@pytest.mark.parametrize("host", OWN)
def test_its_own_page_is_served(host):
    assert answer(host=host) == 200
    assert answer(host=host, origin=f"http://{host}") == 200
    assert answer("/media", "filepath=%2Fdata%2Fa+b.png", host=host) == 200
    assert answer("/events", kind="websocket", host=host) == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:5151", "127.0.0.1", "", None])
def test_another_host_is_refused(host):
    assert answer(host=host) == 403
    assert answer(kind="websocket", host=host) == 0


@pytest.mark.parametrize("origin", ["http://evil.example", "https://127.0.0.1:5151", "null"])
def test_another_page_is_refused(origin):
    assert answer(origin=origin) == 403


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/media", "filepath=/etc/passwd"),
        ("/media/", "filepath=/etc/passwd"),
        ("//media", "filepath=/etc/passwd"),
        ("/media", "filepath=/data/a b.png&filepath=/etc/passwd"),
        ("/media", "filepath=/data/../data/a b.png"),
        ("/media", ""),
    ],
)
def test_other_files_are_refused(path, query):
    assert answer(path, query) == 403


def test_who_asks_for_no_page_begins_at_the_queue():
    sent = first_of("/")
    assert sent["status"] == 307
    assert (b"location", b"/datasets/demo?view=queue") in sent["headers"]
    assert answer("/", host="evil.example") == 403


def test_a_browser_is_told_to_ask_nobody_else():
    (policy,) = (v for n, v in first_of()["headers"] if n == b"content-security-policy")
    assert b"default-src 'self'" in policy and b"http" not in policy
