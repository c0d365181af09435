"""Deaths of a job's harness children: whom they count against, and what follows."""

from __future__ import annotations

import os
import signal
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from app.domain.job import MAX_LOSSES, Failure
from app.errors import FailureCode

TRIES = 3
"""Children that die in a row without an answer in between, before what they worked on is given up."""

OWN_SIGNALS = frozenset(
    {
        signal.SIGSEGV,
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGILL,
        signal.SIGFPE,
        signal.SIGSYS,
        signal.SIGTRAP,
    }
)
"""What a process brings upon itself; other signals may come from anybody, an OOM killer for one."""


@dataclass(frozen=True)
class Death:
    """How one harness child ended without a result."""

    words: str
    task: str | None = None
    """Whose code it was running."""
    status: int | None = None
    """As os.waitpid tells it; None where nobody saw it end, or it was given up while it lived."""
    answered: bool = False
    """Whether answers of engines came while it lived."""
    shared: bool = False
    """The fork server died, and this child with it."""

    @property
    def by_itself(self) -> bool:
        """Whether what it was doing ended it: then another try would end alike."""
        if self.status is None:
            return False
        return os.WIFEXITED(self.status) or os.WTERMSIG(self.status) in OWN_SIGNALS

    @property
    def failure(self) -> Failure:
        """The failure of the task that it was working on, or else of the job."""
        if self.task is None:
            return Failure(FailureCode.INTERNAL, self.words)
        message = f"{self.words} while it worked on this task"
        return Failure(FailureCode.TASK_ERROR, message, task=self.task, hint=_HINT)


_HINT = "code of the task, of its metrics or its data set exits, crashes, hangs, or takes more memory than there is"


class Verdict(Enum):
    """What becomes of a job whose child died."""

    AGAIN = auto()
    WITHOUT_THE_TASK = auto()
    GIVE_UP = auto()


@dataclass(frozen=True)
class Deaths:
    """What counts so far in one attempt of a job: in a row without an answer in between, and by task."""

    own: int = 0
    shared: int = 0
    at: Counter[str] = field(default_factory=Counter)

    def after(self, death: Death) -> tuple[Deaths, Verdict]:
        """The counts with one more death, and what it means.

        The fork server is shared: its death says nothing of any job, unless it dies whenever this one runs.
        """
        own, shared = (0, 0) if death.answered else (self.own, self.shared)
        if death.shared:
            counted = replace(self, own=own, shared=shared + 1)
            return counted.judged(death, over=counted.shared >= MAX_LOSSES)
        at = self.at + Counter([death.task] if death.task else [])
        counted = Deaths(own + 1, shared, at)
        guilty = death.task is not None and (death.by_itself or at[death.task] >= TRIES)
        return counted.judged(death, over=guilty or counted.own >= TRIES)

    def judged(self, death: Death, *, over: bool) -> tuple[Deaths, Verdict]:
        """The counts, begun anew without the task that is given up."""
        if not over:
            return self, Verdict.AGAIN
        return (Deaths(), Verdict.WITHOUT_THE_TASK) if death.task else (self, Verdict.GIVE_UP)


def ended(status: int) -> str:
    """A wait status in words."""
    if os.WIFEXITED(status):
        return f"the harness child ended with exit status {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    known = {each.value: each.name for each in signal.Signals}
    return f"the harness child was ended by {known.get(number, f'signal {number}')}"
