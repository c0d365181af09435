"""Deaths of a job's harness children: whom they count against, and what follows."""

from __future__ import annotations

import os
import signal
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from app.domain.failure import Failure, FailureCode
from app.domain.job import MAX_LOSSES

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
    outgrew: bool = False
    """It was killed because it passed the bounds on memory and processes."""

    @property
    def by_itself(self) -> bool:
        """Whether what it was doing ended it: then another try would end alike."""
        if self.status is None or self.outgrew:
            return self.outgrew
        return os.WIFEXITED(self.status) or os.WTERMSIG(self.status) in OWN_SIGNALS

    @property
    def failure(self) -> Failure:
        """The failure of the task that it was working on, or else of the job."""
        message = self.words if self.task is None else f"{self.words} while it worked on this task"
        if self.outgrew:
            return Failure(FailureCode.HOST_OUT_OF_MEMORY, message, task=self.task, hint=_OUTGREW)
        if self.task is None:
            return Failure(FailureCode.INTERNAL, message)
        return Failure(FailureCode.TASK_ERROR, message, task=self.task, hint=_HINT)


_HINT = "code of the task, of its metrics or its data set exits, crashes, hangs, or takes more memory than there is"


_OUTGREW = (
    "the tokenizer's chat template, the task's code or its data take too much: fewer documents (limit) may take less;"
    " the operator's bounds are EVALQ_HARNESS_MEMORY_SHARE and EVALQ_CHILD_PROCESSES"
)


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
    outgrown: int = 0
    """Children that passed their bounds; whatever was given up for it, the next one may take as much again."""
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
        counted = Deaths(own + 1, shared, self.outgrown + death.outgrew, at)
        if death.outgrew and (death.task is None or counted.outgrown >= TRIES):
            return counted, Verdict.GIVE_UP
        guilty = death.task is not None and (death.by_itself or at[death.task] >= TRIES)
        return counted.judged(death, over=guilty or counted.own >= TRIES)

    def judged(self, death: Death, *, over: bool) -> tuple[Deaths, Verdict]:
        """The counts, begun anew without the task that is given up."""
        if not over:
            return self, Verdict.AGAIN
        if death.task is None:
            return self, Verdict.GIVE_UP
        return Deaths(outgrown=self.outgrown), Verdict.WITHOUT_THE_TASK


def ended(status: int) -> str:
    """A wait status in words."""
    if os.WIFEXITED(status):
        return f"the harness child ended with exit status {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    known = {each.value: each.name for each in signal.Signals}
    return f"the harness child was ended by {known.get(number, f'signal {number}')}"
