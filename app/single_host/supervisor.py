"""Keeping parts running: started in order, started again when they die, stopped in reverse."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.domain.redaction import redact
from app.errors import LocalStartError
from app.single_host.parts import Part
from app.single_host.processes import Process, last_line
from app.single_host.stopping import PAUSE_SECONDS, StopRequest

FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 30.0
HEALTHY_SECONDS = 60.0
LONGEST_LINE = 500
PATIENCE_SECONDS = 2.0
"""Somebody who presses Ctrl-C wonders after so long whether it was heard."""


def restart_delay(deaths: int) -> float:
    """Seconds before the next start after so many deaths in a row: 1, 2, 4 ... 30."""
    return min(FIRST_DELAY_SECONDS * float(2 ** (deaths - 1)), LONGEST_DELAY_SECONDS)


@dataclass
class Member:
    """A part and its process; `deaths` counts those in a row."""

    part: Part
    process: Process
    started_at: float
    deaths: int = 0
    restart_at: float | None = field(default=None)

    @property
    def alive(self) -> bool:
        """The process runs."""
        return self.process.poll() is None


class Crew:
    """The running parts. Used from the main thread only, which the kernel watches for the children."""

    def __init__(self, *, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._members: list[Member] = []

    def start(self, part: Part) -> None:
        """Launch a part, keep it, and wait until it is ready."""
        member = Member(part, part.launch(), self._clock())
        self._members.append(member)
        part.await_ready(member.process)

    def first_dead(self) -> Member | None:
        """A part that is not running, if any."""
        return next((member for member in self._members if not member.alive), None)

    def mend_once(self) -> None:
        """Notice the dead, and start again those whose delay is over. One that cannot start is dead again."""
        for member in self._members:
            if member.alive:
                continue
            if member.restart_at is None:
                self._mourn(member)
            elif self._clock() >= member.restart_at:
                self._restart(member)

    def _mourn(self, member: Member) -> None:
        lived = self._clock() - member.started_at
        member.deaths = 1 if lived > HEALTHY_SECONDS else member.deaths + 1
        delay = restart_delay(member.deaths)
        member.restart_at = self._clock() + delay
        self._say(
            f"{member.part.name} ended ({_how(member.process)}); starting it again in {delay:.0f} s"
            f" (log: {member.part.log})"
        )
        if member.process.returncode > 0 and (words := last_line(member.part.log)):
            self._say(f"  its last line: {redact(words)[:LONGEST_LINE]}")

    def _restart(self, member: Member) -> None:
        member.restart_at, member.started_at = None, self._clock()
        try:
            member.process = member.part.launch()
            member.part.await_ready(member.process)
        except LocalStartError as error:
            self._say(f"{member.part.name}: {error}")

    def stop(self, request: StopRequest) -> None:
        """End everything, the highest rank first; at once when hurried. Nothing is left when it returns."""
        for rank in sorted({member.part.rank for member in self._members}, reverse=True):
            members = [member for member in self._members if member.part.rank == rank and member.alive]
            for member in members:
                member.process.send_signal(member.part.stop_signal)
            self._await_end(members, request)
            for member in members:
                self._kill(member, quietly=request.hurried)
        self._members.clear()

    def _await_end(self, members: Sequence[Member], request: StopRequest) -> None:
        """Until they have ended, hurry or their grace is over; what takes long is told."""
        began = self._clock()
        grace = max((member.part.grace_seconds for member in members), default=0)
        told = False
        while not request.hurried and (waited := self._clock() - began) < grace:
            slow = [member.part for member in members if member.alive]
            if not slow:
                return
            if waited >= PATIENCE_SECONDS and not told:
                told = True
                self._say(f"waiting {grace:.0f} s at most: {'; '.join(map(_why, slow))}")
            time.sleep(PAUSE_SECONDS)

    def _kill(self, member: Member, *, quietly: bool) -> None:
        if member.alive:
            member.process.kill()
            if not quietly:
                self._say(f"{member.part.name} did not end in time: killed")
        member.process.wait()


def _why(part: Part) -> str:
    return f"{part.name} ({part.finishes})" if part.finishes else part.name


def _how(process: Process) -> str:
    code = process.returncode
    return f"signal {-code}" if code < 0 else f"exit code {code}"
