"""The service by plain HTTP: tasks begun and waited for, calls tried again, and never too many.

The vendor's own client has a fixed time-out of 5 s and reports to its maker, token included.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import httpx

from annotate.config.settings import AtLeast0, NotNegative
from annotate.data.checks import within
from annotate.data.printable import printable
from annotate.errors import AnnotateError, MediaError, ServiceError
from annotate.ground.dds.reply import Accepted, Result, Task, read

TRY_LATER = 202001  # a code of the service's
MOST_BYTES = 256 << 20  # of a reply
T = TypeVar("T")

UNREACHABLE = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)
GO_ON = "the same command goes on from here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """How the service is called; it changes no record. See conf/ground/dino_x.yaml."""

    at_once: Annotated[int, within(1, 64)]
    per_s: Annotated[float, within(0.01)]
    connect_s: Annotated[float, within(0.01)]
    read_s: Annotated[float, within(0.01)]
    poll_s: NotNegative
    task_s: NotNegative
    retries: AtLeast0
    backoff_s: NotNegative
    longest_wait_s: NotNegative


class NoSuchTaskError(MediaError):
    """The service knows nothing of a task."""


class HaltedError(AnnotateError):
    """Whoever waits has no need to any more."""


class _AgainError(Exception):
    """A call that may go well the next time; `at_last` is what it is if it never does."""

    def __init__(self, at_last: AnnotateError, *, after_s: float = 0.0) -> None:
        super().__init__(str(at_last))
        self.at_last, self.after_s = at_last, after_s


class Service:
    """One endpoint with one token, for several threads. The token appears in nothing it says."""

    def __init__(self, url: str, token: str, calls: Calls) -> None:
        """`url`: `https://host`, without a path."""
        self.host = urlsplit(url).hostname or ""
        self.tried_again = 0  # calls
        self._token = token
        self._calls = calls
        self._pace = _Pace(calls.per_s)
        self._halted = threading.Event()
        self._client = httpx.Client(
            base_url=url,
            headers={"Token": token},
            timeout=httpx.Timeout(calls.read_s, connect=calls.connect_s, pool=None),
            limits=httpx.Limits(max_connections=calls.at_once),
            follow_redirects=False,  # the token would go along
        )

    def begin(self, path: str, body: Mapping[str, Any], key: str) -> str:
        """Have a task made of a request; its id. With the same key it is the same task.

        Raises MediaError where this request is refused, ServiceError where all would be.
        """
        content = json.dumps(body, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}

        def begun() -> str:
            data = self._data("POST", path, content=content, headers=headers)
            try:
                return read(Accepted, data, "data").task_uuid
            except MediaError as error:  # which costs nothing, with the same key
                raise _AgainError(error) from None

        return self._patiently(begun)

    def wait_for(self, task: str) -> Result:
        """What a task comes to.

        Raises MediaError where it fails or does not end, NoSuchTaskError where there is none.
        """
        ends = time.monotonic() + self._calls.task_s
        while True:
            data = self._patiently(lambda: self._data("GET", f"/v2/task_status/{task}"))
            said = read(Task, data, "data")
            if said.status == "success":
                return read(Result, said.result, "data.result")
            if said.status == "failed":
                reason = self._clean(said.error) if said.error else (
                    "without a reason; a smaller picture may do: ground.longest_side"
                )  # fmt: skip
                raise MediaError(f"the service's task failed: {reason}")
            if time.monotonic() >= ends:
                raise MediaError(
                    f"the service's task is {said.status} after ground.calls.task_s="
                    f"{self._calls.task_s:g} s"
                )
            self._sleep(self._calls.poll_s)

    def halt(self) -> None:
        """Let nobody wait any longer: HaltedError where somebody does."""
        self._halted.set()

    def resume(self) -> None:
        """Wait again, where it is needed."""
        self._halted.clear()

    def _patiently(self, call: Callable[[], T]) -> T:
        """A call that is tried again, later and later; ServiceError where that takes too long."""
        calls = self._calls
        for failures in range(calls.retries + 1):
            try:
                return call()
            except _AgainError as trouble:
                wait_s = min(calls.longest_wait_s, calls.backoff_s * 2**failures)
                wait_s *= random.uniform(0.5, 1)  # else all would come back together
                if trouble.after_s > calls.longest_wait_s:
                    raise ServiceError(
                        f"{self.host}: asks to be left alone for {trouble.after_s:.0f} s, more "
                        f"than ground.calls.longest_wait_s={calls.longest_wait_s:g} ({trouble}); "
                        f"then {GO_ON}"
                    ) from None
                if failures == calls.retries:
                    raise trouble.at_last from None
                wait_s = max(wait_s, trouble.after_s)
            self.tried_again += 1
            self._sleep(wait_s)
        raise AssertionError("the last failure is raised")

    def _data(self, method: str, path: str, **given: Any) -> Any:
        """What one call brings. Raises _AgainError where it may go well the next time."""
        self._sleep(self._pace.turn())
        try:
            status, headers, content = self._call(method, path, **given)
        except UNREACHABLE as error:
            self._down(f"cannot be reached ({self._clean(error) or type(error).__name__})")
        except httpx.TimeoutException:
            raise _AgainError(
                MediaError(f"no reply of {self.host} in ground.calls.read_s={self._calls.read_s:g}")
            ) from None
        except httpx.HTTPError as error:
            reason = self._clean(error) or type(error).__name__
            raise _AgainError(MediaError(f"a reply of {self.host} broke off ({reason})")) from None
        content = content.replace(self._token.encode(), b"(token)")  # should it be echoed
        try:
            said = json.loads(content)
        except (ValueError, RecursionError):
            said = None
        code = said.get("code") if isinstance(said, dict) else None
        told = self._clean(said.get("msg")) if isinstance(said, dict) and said.get("msg") else ""
        if status != 200 or code not in (0, TRY_LATER):
            self._refused(method, status, headers, code, told, content)
        if code == TRY_LATER:
            self._busy(f"code {code} {told}".strip(), headers)
        return said.get("data") if isinstance(said, dict) else None

    def _call(self, method: str, path: str, **given: Any) -> tuple[int, Mapping[str, str], bytes]:
        with self._client.stream(method, path, **given) as response:
            content = bytearray()
            for some in response.iter_bytes():
                content += some
                if len(content) > MOST_BYTES:
                    raise MediaError(f"a reply of {self.host} has over {MOST_BYTES:,} bytes")
            return response.status_code, response.headers, bytes(content)

    def _refused(
        self,
        method: str,
        status: int,
        headers: Mapping[str, str],
        code: Any,
        told: str,
        content: bytes,
    ) -> NoReturn:
        """What a reply that is no success means."""
        said = f"HTTP {status}" if status != 200 else ""
        said = ", ".join(filter(None, [said, f"code {code}" if code is not None else "", told]))
        if code == TRY_LATER or status == 429:
            self._busy(said, headers)
        if status in (401, 403):
            raise ServiceError(f"{self.host}: refuses the key ({said}); set another one")
        if status == 402:
            raise ServiceError(f"{self.host}: wants to be paid ({said}); then {GO_ON}")
        if status in (502, 503, 504):
            self._down(f"is out of service ({said})", headers)
        if status >= 500 or status in (408, 409, 425):
            raise _AgainError(
                MediaError(f"{self.host} fails at it ({said})"), after_s=_after_s(headers)
            )
        if status == 404 and method == "GET":
            raise NoSuchTaskError(f"{self.host} knows nothing of the task ({said})")
        if status in (404, 405) or 300 <= status < 400:
            raise ServiceError(
                f"{self.host}: has no such endpoint ({said}); see ground.endpoint, ground.api"
            )
        if code is None and status == 200:
            shown = self._clean(content[:80].decode("utf-8", "replace"))
            raise _AgainError(
                MediaError(f"the service's answer is not as documented: it is {shown!r}")
            )
        raise MediaError(f"{self.host} refuses it ({said})")

    def _busy(self, said: str, headers: Mapping[str, str]) -> NoReturn:
        raise _AgainError(
            ServiceError(f"{self.host}: has no time for us ({said}); later {GO_ON}"),
            after_s=_after_s(headers),
        )

    def _down(self, said: str, headers: Mapping[str, str] | None = None) -> NoReturn:
        raise _AgainError(
            ServiceError(f"{self.host}: {said}; when it is back {GO_ON}"),
            after_s=_after_s(headers or {}),
        )

    def _clean(self, said: object) -> str:
        """What somebody else says, for a line of ours: short, and without the token."""
        text = " ".join(str(said).split()).replace(self._token, "(token)")
        return printable(text)[:200]

    def _sleep(self, seconds: float) -> None:
        if self._halted.wait(seconds) if seconds > 0 else self._halted.is_set():
            raise HaltedError("halted")


class _Pace:
    """Calls that come evenly: no more than so many a second, whoever makes them."""

    def __init__(self, per_s: float) -> None:
        self._gap_s = 1 / per_s
        self._next = 0.0
        self._lock = threading.Lock()

    def turn(self) -> float:
        """How long to wait, s, until it is one's turn."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._gap_s
            return turn - now


def _after_s(headers: Mapping[str, str]) -> float:
    """What `Retry-After` asks for: seconds, or a date."""
    said = headers.get("retry-after", "").strip()
    with suppress(ValueError):
        return max(0.0, float(said))
    try:
        when = parsedate_to_datetime(said)
    except ValueError:
        return 0.0
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
