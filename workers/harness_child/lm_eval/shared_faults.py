"""Failures that every request of a task meets under one setting: then the fault is in what they share."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from workers.harness_child.errors import INTERNAL, TASK_ERROR
from workers.harness_child.lm_eval.ledger import Ledger
from workers.harness_child.lm_eval.requests import Key
from workers.protocol.harness import FailureTold

ALONE = 5
"""Requests that failed alike, one by one, before the others are spared; fewer where there are no more."""

_NUMBERS = re.compile(r"\d+")


@dataclass
class _Trial:
    """What the requests of a task under one setting have met so far."""

    keys: list[Key]
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    over: bool = False

    @property
    def is_shared(self) -> bool:
        """Whether so many failed alike that those of other settings, or all, would have too."""
        return max(self.seen.values()) >= min(ALONE, len(self.keys))


class SharedFaults:
    """Judges each task's requests of one kind and setting once, when enough of them have failed alike."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._trials: dict[tuple[str, int], _Trial] = {}

    def after(self, key: Key, fault: FailureTold) -> list[Key]:
        """A request failed; the others that fail with it, which nobody needs to ask any more."""
        gone: list[Key] = []
        for task in self._ledger.askers(key):
            trial = self._trial(task, key)
            trial.seen[fault.code, _NUMBERS.sub("#", fault.message)] += 1
            if not trial.over and trial.is_shared:
                trial.over = True
                if not any(map(self._ledger.is_answered, trial.keys)):
                    gone += self._give_up(trial, fault)
        return gone

    def _trial(self, task: str, key: Key) -> _Trial:
        setting = self._ledger.setting(key)
        if (task, setting) not in self._trials:
            self._trials[task, setting] = _Trial(self._ledger.alike(task, key))
        return self._trials[task, setting]

    def _give_up(self, trial: _Trial, fault: FailureTold) -> list[Key]:
        """All fail as those that were tried; what an engine says of what it was asked is not a fault of evalq."""
        untried = [key for key in trial.keys if not self._ledger.is_failed(key)]
        tried = len(trial.keys) - len(untried)
        note = f" (so failed each of {tried} requests tried alone; the others were spared)" if untried else ""
        code = TASK_ERROR if fault.code == INTERNAL else fault.code
        for key in trial.keys:
            self._ledger.fail(key, FailureTold(code, fault.message + note))
        return untried
