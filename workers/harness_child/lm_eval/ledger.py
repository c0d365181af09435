"""Which requests of a job are open, who asked them, and what was answered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import msgpack
from lm_eval.api.instance import Instance

from workers.harness_child.lm_eval.requests import Asked, Key, Request
from workers.protocol.harness import FailureTold
from workers.protocol.payload import RequestKind, ResponseNote, open_note

ORDINARY = ResponseNote(cut=0)
"""Of nearly every log-likelihood: a job may have millions of them, so it is not kept."""


class Ledger:
    """Which requests are open, by task."""

    def __init__(self) -> None:
        self.requests: dict[RequestKind, dict[Key, Request]] = defaultdict(dict)
        self.pending: set[Key] = set()
        self.totals: dict[str, int] = {}
        self._asked: dict[int, list[list[Key]]] = {}
        self._askers: dict[Key, tuple[str, ...]] = {}
        self._open: dict[str, set[Key]] = {}
        self._answers: dict[Key, Any] = {}
        self._notes: dict[Key, ResponseNote] = {}
        self._faults: dict[Key, FailureTold] = {}
        self._settings: list[tuple[str, Any]] = []

    def enter(self, task: str, asked: Iterable[Asked]) -> None:
        """Take in all requests of a task."""
        keys: set[Key] = set()
        for instance, repeats in asked:
            self._asked[id(instance)] = [[request.key for request in parts] for parts in repeats]
            for request in (request for parts in repeats for request in parts):
                self.requests[request.kind].setdefault(request.key, request)
                keys.add(request.key)
        for key in keys:
            self._askers[key] = (*self._askers.get(key, ()), task)
        self._open[task] = keys
        self.totals[task] = len(keys)

    def keys(self) -> list[Key]:
        """All keys, in the order the requests were asked."""
        return [key for requests in self.requests.values() for key in requests]

    def resolve(self, key: Key, response: bytes, note: bytes | None) -> None:
        """Take in an answer, still packed; the first one stands, and one nobody asked for is passed over."""
        if key not in self._answers:
            self._answers[key] = msgpack.unpackb(response)
            if (told := open_note(note)) != ORDINARY:
                self._notes[key] = told
        self._close(key)

    def fail(self, key: Key, fault: FailureTold) -> None:
        """Note that a request has no answer."""
        self._faults[key] = fault
        self._close(key)

    def is_settled(self, key: Key) -> bool:
        """Whether a request is answered, failed, or waits in a chunk that exists already."""
        return key in self._answers or key in self._faults or key in self.pending

    def is_answered(self, key: Key) -> bool:
        """Whether a request is answered."""
        return key in self._answers

    def is_failed(self, key: Key) -> bool:
        """Whether a request has no answer and gets none."""
        return key in self._faults

    def setting(self, key: Key) -> int:
        """The number of what a request's answer depends on beside its text: its kind, and how it is generated."""
        request = next(asked[key] for asked in self.requests.values() if key in asked)
        setting = (request.kind, request.args[1] if request.kind is RequestKind.GENERATE else None)
        if setting not in self._settings:
            self._settings.append(setting)
        return self._settings.index(setting)

    def alike(self, task: str, key: Key) -> list[Key]:
        """The task's requests of the same setting."""
        setting = self.setting(key)
        return [
            other for other in self.keys() if task in self.askers(other) and self.setting(other) == setting
        ]

    def askers(self, key: Key) -> tuple[str, ...]:
        """The tasks that need the answer."""
        return self._askers.get(key, ())

    def is_open(self) -> bool:
        """Whether a task still waits for an answer or to be taken."""
        return bool(self._open)

    def done(self, task: str) -> int:
        """How many of the task's requests are closed."""
        return self.totals[task] - len(self._open.get(task, ()))

    def take_complete(self) -> list[str]:
        """Tasks without an open request, each told once."""
        complete = [task for task, keys in self._open.items() if not keys]
        for task in complete:
            del self._open[task]
        return complete

    def answer(self, instance: Instance, repeat: int) -> object:
        """The answer in the shape that lm-eval's models give."""
        values = [self._answers[key] for key in self._asked[id(instance)][repeat]]
        match instance.request_type:
            case "loglikelihood":
                return values[0][0], bool(values[0][1])
            case "loglikelihood_rolling":
                return sum(logprob for logprob, _ in values)
            case _:
                return values[0]

    def replies(self, instance: Instance) -> Iterator[tuple[Key, Any, ResponseNote]]:
        """What an instance is answered by, repeat by repeat: with each request's key, and how the answer came about."""
        for key in (key for parts in self._asked[id(instance)] for key in parts):
            yield key, self._answers[key], self._notes.get(key, ORDINARY)

    def failed_documents(self, instances: Iterable[Instance]) -> dict[int, FailureTold]:
        """Documents with a request that has no answer, each with the first reason."""
        failed: dict[int, FailureTold] = {}
        for instance in instances:
            for key in (key for parts in self._asked[id(instance)] for key in parts):
                if key in self._faults:
                    failed.setdefault(instance.doc_id, self._faults[key])
        return failed

    def _close(self, key: Key) -> None:
        for task in self.askers(key):
            if task in self._open:
                self._open[task].discard(key)
