"""Requests of several pictures asked together: what is kept is not asked, what is spent is counted.

A request that fails by itself costs its picture; what would fail for all of them ends the run.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

from annotate.errors import MediaError, ServiceError
from annotate.ground.dds.answers import Answers, Asked
from annotate.ground.dds.reply import Result
from annotate.ground.dds.service import GO_ON, HaltedError, NoSuchTaskError, Service


@dataclass(frozen=True, slots=True)
class Request:
    """One picture with one prompt; the body is made when it is sent."""

    digest: str
    body: Callable[[], Mapping[str, Any]]


class Asker:
    """Asks one endpoint of a service, a few requests at a time."""

    def __init__(
        self,
        service: Service,
        answers: Answers,
        path: str,
        *,
        at_once: int,
        budget: int | None,
        give_up: int,
    ) -> None:
        """`budget`: requests that may be begun; `give_up`: failures in a row that are enough."""
        self._service, self._answers, self._path = service, answers, path
        self._at_once, self._budget, self._give_up = at_once, budget, give_up
        self._failures = 0  # in a row
        self._lock = threading.Lock()
        self._stopped = False
        # Of pictures asked together one may fail, and each is then asked for by itself. What was
        # said of it is said again, without asking.
        self._together: frozenset[str] = frozenset()
        self._said: dict[str, str] = {}
        self.counts: Counter[str] = Counter()

    def answers(self, requests: Sequence[Request]) -> dict[str, Result]:
        """The answers by digest. Whatever becomes of one request, the others come to their end.

        Raises ServiceError and StorageError before MediaError.
        """
        unique = {request.digest: request for request in requests}
        if not unique.keys() < self._together:
            self._said, self._together = {}, frozenset(unique)
        found: dict[str, Result] = {}
        for digest in unique:
            if digest in self._said:
                raise MediaError(self._said.pop(digest))
            if (answer := self._answers.known(digest)) is not None:
                found[digest] = answer
        self.counts["answers at hand"] += len(found)
        return found | self._asked([unique[d] for d in unique if d not in found])

    def _asked(self, requests: Sequence[Request]) -> dict[str, Result]:
        if not requests:
            return {}
        self._stopped = False
        self._service.resume()
        pool = ThreadPoolExecutor(min(self._at_once, len(requests)), thread_name_prefix="ask")
        try:
            futures = {request.digest: pool.submit(self._ask, request) for request in requests}
            wait(futures.values())
        except BaseException:
            self._service.halt()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
        self._raise_worst(futures)
        return {digest: future.result() for digest, future in futures.items()}

    def _raise_worst(self, futures: Mapping[str, Future[Result]]) -> None:
        failed = {d: error for d, future in futures.items() if (error := future.exception())}
        for error in failed.values():
            if not isinstance(error, (MediaError, HaltedError)):
                raise error
        self._said |= {digest: str(error) for digest, error in failed.items()}
        for error in failed.values():
            raise error

    def _ask(self, request: Request) -> Result:
        if self._stopped:
            raise HaltedError("another request has ended the run")
        try:
            answer = self._answer(request)
        except MediaError as error:
            self._answers.forget(request.digest)
            self._count_failure(error)
            raise
        except HaltedError:
            raise
        except Exception:
            self._stopped = True
            raise
        self._failures = 0
        return answer

    def _answer(self, request: Request) -> Result:
        """The answer to one request, begun now or by a process before this one."""
        asked = self._answers.asked(request.digest)
        answer = self._of_before(asked)
        if answer is None:
            if asked.task is not None:
                asked = Asked.new()
            self._spend()
            self._answers.note(request.digest, asked)
            task = self._service.begin(self._path, request.body(), asked.key)
            self._answers.note(request.digest, replace(asked, task=task))
            answer = self._service.wait_for(task)
        self._answers.keep(request.digest, answer)
        return answer

    def _of_before(self, asked: Asked) -> Result | None:
        """What came of a task that was begun before; None where there is none any more."""
        if asked.task is None:
            return None
        try:
            answer = self._service.wait_for(asked.task)
        except NoSuchTaskError:
            return None
        with self._lock:
            self.counts["requests of before waited for"] += 1
        return answer

    def _spend(self) -> None:
        with self._lock:
            asked = self.counts["requests asked"]
            if self._budget is not None and asked >= self._budget:
                raise ServiceError(
                    f"ground.budget={self._budget} is spent: this command has asked {asked} "
                    f"requests, whose answers are kept; {GO_ON}"
                )
            self.counts["requests asked"] += 1

    def _count_failure(self, error: MediaError) -> None:
        """ServiceError where it is likely that all others would fail as well."""
        with self._lock:
            self.counts["requests failed"] += 1
            self._failures += 1
            if self._failures < self._give_up:
                return
            self._failures, self._stopped = 0, True
        raise ServiceError(
            f"ground.give_up={self._give_up}: so many requests failed in a row, the last one "
            f"because {error}; {GO_ON}, and with retry_failed=true does those again that failed"
        )
