"""What the coordinator tells of a job's requests, taken into its ledger."""

from __future__ import annotations

from typing import TypeVar, assert_never

from workers.harness_child.lm_eval.ledger import Ledger
from workers.harness_child.lm_eval.link import Link
from workers.harness_child.lm_eval.requests import Key
from workers.harness_child.lm_eval.shared_faults import SharedFaults
from workers.protocol.harness import (
    FactsTold,
    FailureTold,
    Found,
    LookUp,
    RequestFailed,
    Responses,
    SettingsJudged,
    ToHarness,
    Withdraw,
)

LOOKUP_KEYS = 5000

M = TypeVar("M")


class Intake:
    """Waits for messages, and notes what they say; requests that fail as others did are withdrawn."""

    def __init__(self, link: Link, ledger: Ledger) -> None:
        self._link = link
        self._ledger = ledger
        self._shared = SharedFaults(ledger)

    def look_up(self) -> None:
        """Take in all that is known of the job's requests."""
        keys = self._ledger.keys()
        batches = [keys[start : start + LOOKUP_KEYS] for start in range(0, len(keys), LOOKUP_KEYS)]
        for batch in batches:
            self._link.tell(LookUp(tuple(batch)))
        for _ in batches:
            self.wait_for(Found)

    def wait_for(self, kind: type[M]) -> M:
        """The next message of this kind; what comes before it is taken in."""
        while not isinstance(message := self.next(), kind):
            pass
        return message

    def next(self) -> ToHarness:
        """The next message, taken in."""
        message = self._link.next()
        match message:
            case Found() | Responses():
                for key, response, note in message.responses:
                    self._ledger.resolve(key, response, note)
                self._ledger.pending.update(message.pending if isinstance(message, Found) else ())
            case RequestFailed():
                self._take_fault(message.key, message.fault)
            case SettingsJudged() | FactsTold():
                pass  # whoever asked waits for it
            case _:
                assert_never(message)
        return message

    def _take_fault(self, key: Key, fault: FailureTold) -> None:
        if self._ledger.is_failed(key):  # it was given up meanwhile, with the others that it fails like
            return
        self._ledger.fail(key, fault)
        if gone := self._shared.after(key, fault):
            self._link.tell(Withdraw(tuple(gone)))
