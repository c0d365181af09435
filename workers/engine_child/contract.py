"""What an engine is asked and what it answers; which engines there are.

An engine that streams is an `Engine` itself. One that answers a list of requests in one call is made one by
`OneAtATime`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from workers.protocol.engine import AnswerChunk, Draws, Load
from workers.protocol.payload import EndedBy, RequestKind, ResponseNote, unpack_requests


@dataclass(frozen=True)
class OpenChunk:
    """Requests of one kind and one generation setting, opened, to be answered as a whole."""

    id: UUID
    kind: RequestKind
    batch_size: int | str
    gen_kwargs: Mapping[str, Any]
    draws: Draws | None
    requests: Sequence[Any]

    @classmethod
    def of(cls, message: AnswerChunk) -> OpenChunk:
        """The chunk that a message carries shut."""
        return cls(
            id=message.chunk,
            kind=message.kind,
            batch_size=message.batch_size,
            gen_kwargs=message.gen_kwargs,
            draws=message.draws,
            requests=unpack_requests(message.payload),
        )


class GeneratedText(str):
    """A text that knows why it ends; a text like any other to who does not ask."""

    __slots__ = ("ended_by",)

    ended_by: EndedBy | None

    def __new__(cls, text: str, ended_by: EndedBy | None) -> GeneratedText:
        """The text; None where nobody knows."""
        made = super().__new__(cls, text)
        made.ended_by = ended_by
        return made


@dataclass(frozen=True)
class ChunkResponses:
    """One response for each request of a chunk, in order, and what they took."""

    values: Sequence[Any]
    batch_size: int
    """Requests that ran at once, at most."""
    tokens: int
    """Read and generated."""
    peak_bytes: float | None = None
    """The most that the engine has taken of a device so far, where it knows."""
    cuts: Sequence[int] | None = None
    """For each request the tokens of its prompt that were left out; None where the engine does not tell."""

    @property
    def notes(self) -> list[ResponseNote]:
        """What is told of each response beside it."""
        cuts = [None] * len(self.values) if self.cuts is None else self.cuts
        return [
            ResponseNote(cut, value.ended_by if isinstance(value, GeneratedText) else None)
            for value, cut in zip(self.values, cuts, strict=True)
        ]


@dataclass(frozen=True)
class Done:
    """All requests of a chunk are answered."""

    chunk: UUID
    responses: ChunkResponses
    seconds: float
    """From its first request to its last."""


@dataclass(frozen=True)
class Unanswered:
    """A chunk cannot be answered."""

    chunk: UUID
    error: Exception
    fatal: bool = False
    """Whether the engine did not survive it."""


Outcome: TypeAlias = Done | Unanswered


class Reports(Protocol):
    """How an engine speaks while it works, as often as it likes."""

    def answered(self, chunk: UUID, count: int = 1) -> None:
        """So many more requests of a chunk are answered."""

    def begins(self, chunk: UUID) -> None:
        """A chunk is answered from its beginning, for the first time or once more."""

    def generated(self, tokens: int) -> None:
        """So many more tokens are generated."""

    def warn(self, chunk: UUID, code: str, change: str) -> None:
        """Something went wrong and was cured by this change."""

    def died(self, process: str, exit_code: int | None) -> None:
        """A process of the engine's own has ended; this one follows."""


class Engine(Protocol):
    """A loaded model with chunks in its hands. One thread calls it."""

    provenance: Mapping[str, Any]
    measured: Mapping[str, float]
    """What it takes, by the names of `Loaded`; empty where it does not measure."""
    window: int
    """Requests that it wants in hand, to be as fast as it can; 0: one chunk at a time, in order."""

    def add(self, chunk: OpenChunk) -> None:
        """Take a chunk in hand. What this raises fails the chunk, and it alone."""

    def step(self, hear: Callable[[], None]) -> Sequence[Outcome]:
        """Work for a moment on what is in hand, which is not nothing: the chunks that ended, in any order.

        Where a step lasts, `hear` is called now and then in its midst, which may `add` and `drop`. What a step raises
        ends the engine, with all that is in its hands.
        """

    def drop(self, chunks: Collection[UUID]) -> None:
        """Forget these chunks, of which some may be unknown, without harm to the others."""


def engines() -> list[str]:
    """The backends that there is an engine for."""
    return [
        module.name.replace("_", "-") for module in iter_modules([str(Path(__file__).parent)]) if module.ispkg
    ]


def load_engine(order: Load, reports: Reports) -> Engine:
    """Load the model; raises whatever its backend does where it cannot be.

    A backend is a folder of its name beside this module, `_` for `-`, whose `engine` has a `load`.
    """
    engine: Engine = _engine_module(order.engine.backend).load(order, reports)
    return engine


def import_engine(backend: str, cache: str | None) -> None:
    """Import what a `load` would import, with `cache` as in `Load`, and touch no device.

    It is what the module of its `load` imports, and what its `prepare` imports where it has one.
    """
    module = _engine_module(backend)
    if hasattr(module, "prepare"):
        module.prepare(cache)


def _engine_module(backend: str) -> ModuleType:
    known = engines()
    if backend not in known:
        raise ValueError(f"no engine for backend {backend!r}; there are {', '.join(known)}")
    return import_module(f"{__package__}.{backend.replace('-', '_')}.engine")
