"""What an engine is asked and what it answers; which engines there are."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from workers.protocol.frames import Frame
from workers.protocol.payload import unpack_requests

GENERATE = "generate_until"
ROLLING = "loglikelihood_rolling"

ENGINES = ("hf", "echo")
"""Backends, each with a folder of its name, whose `engine` has a `load`."""


@dataclass(frozen=True)
class Spec:
    """The model and how it is loaded; `args` are the backend's own."""

    backend: str
    model: str
    revision: str | None
    args: Mapping[str, Any]
    tensor_parallel_size: int
    pipeline_parallel_size: int

    @classmethod
    def from_frame(cls, spec: Mapping[str, Any]) -> Spec:
        """From the `spec` of a `load` frame, which may hold more than an engine needs."""
        return cls(**{name: spec[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Chunk:
    """Requests of one kind and one generation setting, answered as a whole."""

    id: str
    kind: str
    batch_size: int | str
    gen_kwargs: Mapping[str, Any]
    seed: int | None
    """What samples are drawn with; None where nothing is drawn."""
    draws: Sequence[bytes]
    """What makes the sample of each request another one, under the same seed."""
    requests: Sequence[Any]

    @classmethod
    def from_frame(cls, frame: Frame) -> Chunk:
        """From a `chunk` frame."""
        return cls(
            id=frame["id"],
            kind=frame["kind"],
            batch_size=frame["batch_size"],
            gen_kwargs=frame["gen_kwargs"] or {},
            seed=frame["seed"],
            draws=frame["draws"],
            requests=unpack_requests(frame["payload"]),
        )


@dataclass(frozen=True)
class Answer:
    """One response for each request of a chunk, in order, and what they took."""

    responses: Sequence[Any]
    batch_size: int
    prompt_tokens: int
    generated_tokens: int


class Progress:
    """Tells of answered requests, at most four times a second."""

    INTERVAL_SECONDS = 0.25

    def __init__(self, tell: Callable[[int], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._told_at = clock()
        self._done = 0

    def add(self, count: int) -> None:
        """So many more requests are answered."""
        self._done += count
        now = self._clock()
        if now - self._told_at >= self.INTERVAL_SECONDS:
            self._told_at = now
            self._tell(self._done)


class Reports(Protocol):
    """How an engine speaks while it answers a chunk."""

    def progress(self) -> Progress:
        """A count of this chunk's answered requests, starting at none."""

    def warn(self, code: str, change: str) -> None:
        """Something went wrong and was cured by this change."""


class Engine(Protocol):
    """A loaded model."""

    provenance: Mapping[str, Any]

    def answer(self, chunk: Chunk, reports: Reports) -> Answer:
        """Answer every request; any exception fails the chunk."""

    def recover(self) -> None:
        """Clean up after a failed chunk; raises where the engine can answer no more."""


def load_engine(spec: Spec, device: str, max_batch_size: int) -> Engine:
    """Load the model. `device` is cpu or cuda; `max_batch_size` bounds what an automatic batch size may reach."""
    if spec.backend not in ENGINES:
        raise ValueError(f"no engine for backend {spec.backend!r}; there are {', '.join(ENGINES)}")
    module = import_module(f"workers.engine_child.{spec.backend}.engine")
    engine: Engine = module.load(spec, device, max_batch_size)
    return engine
