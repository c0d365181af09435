"""Reads that many ask for at once, done once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool

T = TypeVar("T")


class Shared:
    """Lets those who ask while a read is under way share the next one: nobody gets what is older than the question.

    Lives on one event loop.
    """

    def __init__(self) -> None:
        self._begun: dict[Hashable, asyncio.Task[Any]] = {}
        self._next: dict[Hashable, asyncio.Task[Any]] = {}

    async def read(self, key: Hashable, work: Callable[[], T]) -> T:
        """What `work` gives in a thread; the same key stands for the same work. One reader that goes stops none."""
        task: asyncio.Task[T] | None = self._next.get(key)
        if task is None:
            task = self._next[key] = asyncio.create_task(self._do(key, work))
            task.add_done_callback(_heard)
        return await asyncio.shield(task)

    async def _do(self, key: Hashable, work: Callable[[], T]) -> T:
        if begun := self._begun.get(key):
            await asyncio.wait({begun})
        self._begun[key] = own = self._next.pop(key)
        try:
            return await run_in_threadpool(work)
        finally:
            if self._begun.get(key) is own:
                del self._begun[key]


def _heard(task: asyncio.Task[Any]) -> None:
    """Whoever asked was told of its failure, or has gone."""
    if not task.cancelled():
        task.exception()
