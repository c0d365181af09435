"""A cluster in virtual time, on which the rules of placement and of the line are run forward.

Engines take as long as they are said to; everything else is decided as the scheduler decides it.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from uuid import UUID

from app.domain.demands import Learnt, merged
from app.domain.line import Account, Sharing, in_line
from app.domain.placement import Decision, Demand, Group, Policy, Start, place, ripening
from app.domain.replica import DeviceState, Replica, ReplicaStatus
from app.domain.virtual_work import JobWork, VirtualJob

Placing = Callable[[datetime, Sequence[Group], Sequence[Replica], Sequence[Demand], Policy], list[Decision]]


@dataclass(frozen=True)
class Pace:
    """How finely time is looked at."""

    turn: float = 0.5
    """Seconds between two turns of the scheduler in which something changed."""
    look: float = 5.0
    """Seconds between two in which nothing did, but jobs wait."""
    growth: float = 0.0
    """Both, and slices of work, are at least this part of the time since the beginning."""
    slice: float = 5.0
    """Seconds of work that a replica takes at once, where chunks are shorter."""
    clear: float = 1.0
    """Seconds from the end of a replica until its devices may be given out."""


@dataclass(frozen=True)
class Snapshot:
    """What there is at one moment, as the scheduler is shown it."""

    now: datetime
    groups: Sequence[Group]
    replicas: Sequence[Replica]
    policy: Policy
    sharing: Sharing = field(default_factory=Sharing)
    used: Mapping[Account, float] = field(default_factory=dict)
    """Device seconds of late, by owner."""


class _Seat:
    """A replica, and what it has in hand."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.key = replica.engine.key
        self.job: VirtualJob | None = None
        self.taken = 0.0
        self.since = 0.0
        self.hand = 0
        """Of several events that would end what it has in hand only the last one counts."""


class VirtualCluster:
    """Goes from event to event: jobs come, engines load and answer, devices come free and are placed again."""

    def __init__(self, there: Snapshot, pace: Pace, placing: Placing = place) -> None:
        self.time = 0.0
        self.turns = 0
        self.jobs: list[VirtualJob] = []
        self.loads = 0
        self.used = dict(there.used)
        self._there, self._pace, self._placing = there, pace, placing
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = count(1)
        self._groups = {group.name: group for group in there.groups}
        self._seats = {each.id: _Seat(each) for each in there.replicas if each.status.live}
        self._line: list[VirtualJob] = []
        self._speeds: dict[str, float] = {}
        """As they are known by now, cost a second; at first as somebody said."""
        self._loads: dict[str, float] = {}
        """Likewise, seconds."""
        self._loading: dict[str, float] = {}
        """As they are."""
        self._by_key: dict[str, list[VirtualJob]] = defaultdict(list)
        self._group_of = {device.id: group.name for group in there.groups for device in group.devices}
        self._serving: Counter[str] = Counter()
        self._due: float | None = None
        self._turned_at = -pace.turn
        self._lined_up_at = 0.0
        self._changed = True
        self._open = 0

    def begin(self) -> None:
        """What is there goes on: engines that load will have loaded, others take work."""
        for seat in self._seats.values():
            if seat.replica.status is ReplicaStatus.SERVING:
                self._serving[seat.key] += 1
                self._at(0.0, partial(self._next, seat))
            else:
                since = (self._now() - (seat.replica.claimed_at or seat.replica.placed_at)).total_seconds()
                left = self._load_of(seat) - since
                self._at(max(left, 1.0), partial(self._loaded, seat))
        dirty = {d.id for g in self._groups.values() for d in g.devices if d.state is DeviceState.DIRTY}
        self._at(self._pace.clear, partial(self._set, dirty, DeviceState.FREE))
        self._stir()

    def come(self, work: JobWork, after: float = 0.0) -> VirtualJob:
        """A job that comes after so many seconds."""
        job = VirtualJob(work)
        self.jobs.append(job)
        self._open += 1
        self._loading.setdefault(job.key, work.load_seconds)
        if work.demand.speed:
            self._speeds.setdefault(job.key, work.demand.speed)
        if work.demand.load_seconds:
            self._loads.setdefault(job.key, work.demand.load_seconds)
        self._at(after, partial(self._came, job))
        return job

    def run(self, most_turns: int, until: float) -> None:
        """Until every job has ended, or one of the bounds is met."""
        self.begin()
        while self._events and self.turns < most_turns and self._events[0][0] <= until:
            self.time, _, happen = heapq.heappop(self._events)
            happen()
            if self._open == 0:
                return

    def learnt(self, key: str) -> Learnt:
        """What the scheduler of this cluster knows of an engine by now."""
        return Learnt(self._loads.get(key), self._speeds.get(key))

    def _at(self, time: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._count), happen))

    def _now(self) -> datetime:
        return self._there.now + timedelta(seconds=self.time)

    def _step(self, seconds: float) -> float:
        return max(seconds, self.time * self._pace.growth)

    def _came(self, job: VirtualJob) -> None:
        self._line.append(job)
        self._by_key[job.key].append(job)
        self._changed = True
        for seat in list(self._seats.values()):
            if seat.key == job.key and seat.replica.status is ReplicaStatus.SERVING:
                self._next(seat)
        self._stir()

    def _stir(self) -> None:
        """Something changed: the scheduler looks at it in its next turn."""
        self._turn_at(max(self.time, self._turned_at + self._step(self._pace.turn)))

    def _turn_at(self, time: float) -> None:
        if self._due is None or time < self._due:
            self._due = time
            self._at(time, partial(self._turn, time))

    def _turn(self, due: float) -> None:
        if self._due != due:
            return
        self._due, self._turned_at, self.turns = None, self.time, self.turns + 1
        self._line_up()
        asked = merged(
            job.demand(turn, self._speeds.get(job.key), self._loads.get(job.key))
            for turn, job in enumerate(self._line)
        )
        live = [seat.replica for seat in self._seats.values()]
        for decision in self._placing(
            self._now(), list(self._groups.values()), live, asked, self._there.policy
        ):
            if isinstance(decision, Start):
                self._begin_loading(decision)
            else:
                self._release(self._seats[decision.replica])
        if any(not job.holders for job in self._line):
            self._turn_at(self._next_look())

    def _next_look(self) -> float:
        """When somebody may have devices that work goes on for until then: jobs wait, and nothing else happens."""
        ripe = [at for seat in self._seats.values() for at in self._ripens(seat) if at > self.time]
        soonest = self.time + self._step(self._pace.turn)
        return max(soonest, min((*ripe, self.time + self._step(self._pace.look))))

    def _ripens(self, seat: _Seat) -> list[float]:
        """The turns of the scheduler that follow when an engine may give way."""
        loaded = seat.replica.serving_at
        if loaded is None or seat.replica.release_requested_at:
            return []
        since = (loaded - self._there.now).total_seconds() + self._pace.turn / 2
        return [since + after for after in ripening(self._thought(seat), self._there.policy)]

    def _line_up(self) -> None:
        """As the scheduler does: when somebody came or went, and else every few seconds."""
        self._line = [job for job in self._line if job.ended is None]
        if not self._changed and self.time < self._lined_up_at + self._step(self._pace.look):
            return
        self._changed, self._lined_up_at = False, self.time
        by_id = {job.work.line.id: job for job in self._line}
        standing = [job.standing(self._speeds.get(job.key)) for job in self._line]
        self._line = [by_id[each.id] for each in in_line(standing, self.used, self._there.sharing)]
        self._by_key.clear()
        for job in self._line:
            self._by_key[job.key].append(job)

    def _begin_loading(self, start: Start) -> None:
        number = UUID(int=next(self._count))
        replica = Replica(
            number, start.group, start.engine, ReplicaStatus.LOADING, start.devices, self._now(), self._now()
        )
        seat = self._seats[number] = _Seat(replica)
        self.loads += 1
        self._set(set(start.devices), DeviceState.HELD)
        self._at(self.time + self._load_of(seat), partial(self._loaded, seat))

    def _loaded(self, seat: _Seat) -> None:
        if seat.replica.id in self._seats:
            seat.replica = replace(seat.replica, status=ReplicaStatus.SERVING, serving_at=self._now())
            self._serving[seat.key] += 1
            self._loads[seat.key] = self._load_of(seat)
            self._next(seat)
            self._stir()

    def _load_of(self, seat: _Seat) -> float:
        return self._loading.get(seat.key, self._there.policy.load.total_seconds())

    def _thought(self, seat: _Seat) -> float:
        return self._loads.get(seat.key, self._there.policy.load.total_seconds())

    def _release(self, seat: _Seat) -> None:
        """It ends when the chunk in its hands is answered."""
        seat.replica = replace(seat.replica, release_requested_at=self._now())
        if seat.job is None:
            self._end(seat)
            return
        done = self.time - seat.since
        chunks = int(done / seat.job.chunk) + 1
        self._answers_at(seat, min(chunks * seat.job.chunk, seat.taken))

    def _answers_at(self, seat: _Seat, done: float) -> None:
        seat.hand += 1
        self._at(seat.since + done, partial(self._answered, seat, seat.hand, done))

    def _answered(self, seat: _Seat, hand: int, done: float) -> None:
        job = seat.job
        if seat.hand != hand or job is None:
            return
        job.answer(seat.taken, done, self.time)
        seat.job = None
        self.used[job.account] = self.used.get(job.account, 0.0) + done * seat.replica.engine.gpus
        if speed := job.cost_per_second:
            self._speeds[seat.key] = speed
            seat.replica = replace(seat.replica, cost_per_second=speed)
        if job.ended is not None:
            self._open, self._changed = self._open - 1, True
            self._by_key[job.key].remove(job)
        self._next(seat)

    def _next(self, seat: _Seat) -> None:
        """Take what is first in line for this engine, or idle, or end where it was asked to."""
        if seat.job is not None or seat.replica.id not in self._seats:
            return
        if seat.replica.release_requested_at:
            self._end(seat)
            return
        job = next((each for each in self._by_key[seat.key] if each.takes(seat.replica.group)), None)
        if job is None:
            if seat.replica.idle_since is None:
                seat.replica = replace(seat.replica, idle_since=self._now())
                self._stir()
            return
        if seat.replica.idle_since:
            seat.replica = replace(seat.replica, idle_since=None)
        fair = job.open / self._serving[seat.key]
        job.seat(seat.replica.devices)
        seat.taken = job.take(min(self._step(self._pace.slice), fair), self.time)
        seat.job, seat.since = job, self.time
        self._answers_at(seat, seat.taken)

    def _end(self, seat: _Seat) -> None:
        del self._seats[seat.replica.id]
        self._serving[seat.key] -= seat.replica.status is ReplicaStatus.SERVING
        gone = set(seat.replica.devices)
        self._set(gone, DeviceState.DIRTY)
        self._at(self.time + self._pace.clear, partial(self._set, gone, DeviceState.FREE))

    def _set(self, ids: set[str], state: DeviceState) -> None:
        for name in {self._group_of[each] for each in ids if each in self._group_of}:
            group = self._groups[name]
            devices = tuple(replace(d, state=state) if d.id in ids else d for d in group.devices)
            self._groups[name] = replace(group, devices=devices)
        self._stir()
