"""GPU groups: what their workers report, and what operators ask of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from app.db.groups import NOBODY, GroupRepository
from app.db.jobs import JobRepository
from app.db.replicas import ReplicaRepository
from app.db.session import Sessions
from app.domain.group import BackendReport, DeviceReport, GroupView
from app.domain.ids import uuid7
from app.domain.replica import DeviceState, Replica, ReplicaStatus


@dataclass(frozen=True)
class GroupState:
    """A group, its devices and the replicas on them."""

    group: GroupView
    replicas: list[Replica]
    known_engines: frozenset[str] = frozenset()
    """Keys of the engines that whoever asks may know of."""
    early_jobs: Mapping[UUID, bool] = field(default_factory=dict)
    """Those that engines were started early for and that have not ended; whether whoever asks may know of each."""

    def reason(self, replica: Replica) -> str | None:
        """In words, why a replica is there that has answered nothing; None where that is plain."""
        if not replica.early:
            return None
        loads = "loaded early" if replica.status is ReplicaStatus.SERVING else "loading early"
        known = self.early_jobs.get(replica.early_for) if replica.early_for else None
        if known is None:  # another job may want it
            return loads
        return f"{loads} for {f'job {replica.early_for}' if known else 'a job of another team'}"


class GroupService:
    """One transaction per method."""

    def __init__(self, *, sessions: Sessions) -> None:
        self._sessions = sessions

    def all(self, seen_by: str | None = None) -> list[GroupState]:
        """Every group with devices and live replicas; with a team, its own engines are marked as known."""
        with self._sessions.begin() as session:
            groups = GroupRepository(session).views()
            replicas = ReplicaRepository(session).live()
            keys = {replica.engine.key for replica in replicas}
            known = keys if seen_by is None else JobRepository(session).engines_of(seen_by, keys)
            early = {replica.early_for for replica in replicas if replica.early_for}
            teams = JobRepository(session).teams_of_unended(early) if early else {}
        jobs = {job: seen_by in {None, team} for job, team in teams.items()}
        return [
            GroupState(group, [r for r in replicas if r.group == group.name], frozenset(known), jobs)
            for group in groups
        ]

    def register(
        self,
        *,
        name: str,
        host: str,
        kind: str,
        backends: Sequence[str],
        version: str,
        reports: Sequence[DeviceReport],
        installed: Sequence[BackendReport] = (),
    ) -> UUID:
        """A worker takes the group over; returns the token of its heartbeats. Safe to repeat.

        It offers `backends`; `installed` tells of them, and of those that it cannot offer.
        """
        token = uuid7()
        with self._sessions.begin() as session:
            groups = GroupRepository(session)
            groups.register(
                name,
                host=host,
                kind=kind,
                backends=backends,
                version=version,
                token=token,
                installed=installed,
            )
            groups.set_devices(name, reports)
        return token

    def beat(
        self,
        name: str,
        token: UUID,
        backends: Sequence[str],
        reports: Sequence[DeviceReport],
        installed: Sequence[BackendReport] = (),
    ) -> list[str]:
        """The worker lives; returns the devices it should look at. LeaseLostError if the group was taken over."""
        with self._sessions.begin() as session:
            groups = GroupRepository(session)
            groups.beat(name, token, backends, reports, installed)
            for report in reports:
                if report.broken:
                    groups.condemn([report.id], report.broken)
            return groups.dirty(name)

    def leave(self, name: str, token: UUID) -> UUID:
        """The worker ends: nothing new is placed, and what it has not begun goes elsewhere. Safe to repeat.

        Returns the token of the heartbeats that are left, until its last devices are given back.
        """
        with self._sessions.begin() as session:
            if GroupRepository(session).leave(name, token):
                replicas = ReplicaRepository(session)
                for replica in replicas.live():
                    if replica.group == name and replica.status is ReplicaStatus.PLACED:
                        replicas.release(replica.id, "its worker is leaving")
        return NOBODY

    def mark_device(self, device_id: str, token: UUID, state: DeviceState, reason: str | None) -> bool:
        """What the worker saw of a device that no replica holds; False if another one has the group by now."""
        with self._sessions.begin() as session:
            return GroupRepository(session).set_state(device_id, token, state, reason)

    def drain(self, name: str, *, by: str | None = None, reason: str | None = None) -> None:
        """Let replicas of the group finish their chunks and give it no more work; UnknownGroupError.

        Safe to repeat: who did it first, and why, stays.
        """
        with self._sessions.begin() as session:
            GroupRepository(session).drain(name, draining=True, by=by, reason=reason)

    def resume(self, name: str) -> None:
        """Give the group work again, on its mended devices too; UnknownGroupError."""
        with self._sessions.begin() as session:
            groups = GroupRepository(session)
            groups.drain(name, draining=False)
            groups.reprieve(name)
