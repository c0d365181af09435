"""A way to fail, and what came of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from app.domain.failure import Failure, FailureCode


class Running(Protocol):
    """An engine that runs."""

    def await_answering(self) -> None:
        """Until one chunk is answered and another one in hand, or the engine has ended."""

    def await_process(self, title: str) -> None:
        """Until one of its processes has this in its title."""

    def signal(self, number: int, title: str) -> None:
        """Send a signal to the newest of its processes whose title has this in it; the seconds count from now on."""


@dataclass(frozen=True)
class Ask:
    """Requests of one chunk."""

    kind: str
    requests: tuple[Any, ...]
    gen_kwargs: Mapping[str, Any] | None = None


SHORT = Ask("loglikelihood", (((5, 6), (7,)), ((5, 6), (8,))))


@dataclass(frozen=True)
class Case:
    """One way to fail: what is done, and what must be told of it."""

    name: str
    done: str
    code: FailureCode | None
    """None where it harms nothing."""
    says: str
    """A pattern that is found in the message."""
    cure: str = ""
    """A pattern that is found in what is tried next."""
    spoil: Callable[[Path], object] | None = None
    """Done to a copy of the model."""
    model: str | None = None
    """A name for the hub instead of that copy."""
    args: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    wide: int = 1
    """Devices, as many as ranks."""
    asks: tuple[Ask, ...] = ()
    act: Callable[[Running], None] | None = None
    """Done to the running engine."""
    before: str = ""
    """A line of shell, run in a mount namespace of the engine's own before it starts."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The worker's."""


@dataclass(frozen=True)
class Finding:
    """What came of a case."""

    case: Case
    failure: Failure | None
    """None where the engine came up, and answered what it was asked."""
    cure: str
    """What is tried next."""
    seconds: float
    """From what was done to the replica's end, with its processes gone."""
    left: tuple[str, ...]
    """Processes, segments, sockets and folders that are still there."""

    @property
    def wrong(self) -> list[str]:
        """How it is not as it must be."""
        case, failure = self.case, self.failure
        code, message = (failure.code, failure.message) if failure else (None, "")
        found = {
            f"code {code}, not {case.code}": code is case.code,
            f"the message lacks {case.says!r}": re.search(case.says, message) is not None,
            f"the cure {self.cure!r} lacks {case.cure!r}": re.search(case.cure, self.cure) is not None,
            "no hint": failure is None or bool(failure.hint),
            f"{self.left} are left": not self.left,
        }
        return [words for words, holds in found.items() if not holds]
