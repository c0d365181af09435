"""Rows of `gpu_groups` and `devices` as their own worker writes them, and as people see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import case, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from app.db.fence import group_owned
from app.db.installed import installed_in, to_document, tolerances_of
from app.db.tables import DeviceRow, GroupRow
from app.domain.group import BackendReport, DeviceReport, DeviceView, GroupView
from app.domain.replica import DeviceState
from app.errors import LeaseLostError, UnknownGroupError

TRAITS = ("capability", "island", "numa_node", "warnings", "broken")
"""Of a report: what is kept together, since nothing is asked for by it."""

NOBODY = UUID(int=0)
"""Holds a group whose worker has left: it gets no new replica."""


class GroupRepository:
    """A group belongs to the worker that registered it last."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def register(
        self,
        name: str,
        *,
        host: str,
        kind: str,
        backends: Sequence[str],
        version: str,
        token: UUID,
        installed: Sequence[BackendReport] = (),
    ) -> None:
        """Take over the group; an older worker's heartbeats are refused from now on."""
        values = {
            "host": host,
            "kind": kind,
            "backends": list(backends),
            "installed": to_document(installed),
            "tolerances": tolerances_of(installed),
            "version": version,
            "worker_token": token,
            "worker_started_at": func.now(),
            "heartbeat_at": func.now(),
        }
        statement = upsert(GroupRow).values(name=name, **values)
        self._session.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))

    def set_devices(self, name: str, reports: Sequence[DeviceReport]) -> None:
        """The group has exactly these devices; new ones are dirty until seen clean."""
        for report in reports:
            values = {
                "group_name": name,
                "index": report.index,
                "name": report.name,
                "memory_bytes": report.memory_bytes,
                "traits": _traits(report),
            }
            statement = upsert(DeviceRow).values(
                id=report.id, state=DeviceState.DIRTY, reason="not seen clean yet", **values
            )
            self._session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))
        self._session.execute(
            delete(DeviceRow).where(
                DeviceRow.group_name == name,
                DeviceRow.id.not_in([report.id for report in reports]),
                DeviceRow.state != DeviceState.HELD,
            )
        )

    def beat(
        self,
        name: str,
        token: UUID,
        backends: Sequence[str],
        reports: Sequence[DeviceReport],
        installed: Sequence[BackendReport] = (),
    ) -> None:
        """The worker lives; its devices look like this. LeaseLostError if another worker took the group."""
        done = self._session.execute(
            update(GroupRow)
            .where(GroupRow.name == name, group_owned(token))
            .values(
                heartbeat_at=func.now(),
                backends=list(backends),
                installed=to_document(installed),
                tolerances=tolerances_of(installed),
            )
        )
        if not done.rowcount:  # type: ignore[attr-defined]
            raise LeaseLostError(f"another worker has taken group {name}")
        for report in reports:
            self._session.execute(
                update(DeviceRow)
                .where(DeviceRow.id == report.id)
                .values(
                    memory_used_bytes=report.memory_used_bytes,
                    utilization_percent=report.utilization_percent,
                    temperature_celsius=report.temperature_celsius,
                    traits=_traits(report),
                )
            )

    def leave(self, name: str, token: UUID) -> bool:
        """The group has no worker from now on; False if another worker took it, or it was left already."""
        done = self._session.execute(
            update(GroupRow).where(GroupRow.name == name, group_owned(token)).values(worker_token=NOBODY)
        )
        return bool(done.rowcount)  # type: ignore[attr-defined]

    def dirty(self, name: str) -> list[str]:
        """Devices of the group that nobody may have before they are seen clean; not those that are broken."""
        query = select(DeviceRow.id).where(
            DeviceRow.group_name == name,
            DeviceRow.state.in_([DeviceState.DIRTY, DeviceState.DRAINED]),
            DeviceRow.faulty_at.is_(None),
        )
        return list(self._session.scalars(query))

    def set_state(self, device_id: str, token: UUID, state: DeviceState, reason: str | None) -> bool:
        """Move a device that no replica holds, as the worker of its group; False where it is another's."""
        owned = select(GroupRow.name).where(group_owned(token)).with_for_update(read=True)
        done = self._session.execute(
            update(DeviceRow)
            .where(
                DeviceRow.id == device_id,
                DeviceRow.replica_id.is_(None),
                DeviceRow.group_name.in_(owned),
            )
            .values(state=state, reason=reason)
        )
        return bool(done.rowcount)  # type: ignore[attr-defined]

    def condemn(self, device_ids: Sequence[str], reason: str) -> None:
        """Drain devices that no replica holds until an operator gives them back, whatever their memory shows.

        What they were drained for first stays. Safe to repeat.
        """
        held_by_nobody = DeviceRow.id.in_(device_ids) & DeviceRow.replica_id.is_(None)
        self._session.execute(
            update(DeviceRow)
            .where(held_by_nobody, DeviceRow.faulty_at.is_(None))
            .values(state=DeviceState.DRAINED, reason=reason, faulty_at=func.now())
        )

    def reprieve(self, name: str) -> None:
        """The group's broken devices are mended: they are free once they are seen clean."""
        self._session.execute(
            update(DeviceRow)
            .where(DeviceRow.group_name == name, DeviceRow.faulty_at.is_not(None))
            .values(state=DeviceState.DIRTY, reason="resumed: not seen clean yet", faulty_at=None)
        )

    def drain(self, name: str, *, draining: bool, by: str | None = None, reason: str | None = None) -> None:
        """Give the group no more work, or work again; UnknownGroupError. Who drained it first, and why, stays."""
        row, first = GroupRow, GroupRow.drain_requested_at.is_(None)
        values = {
            row.drain_requested_at: func.coalesce(row.drain_requested_at, func.now()) if draining else None,
            row.drained_by: case((first, by), else_=row.drained_by) if draining else None,
            row.drain_reason: case((first, reason), else_=row.drain_reason) if draining else None,
        }
        done = self._session.execute(update(GroupRow).where(GroupRow.name == name).values(values))
        if not done.rowcount:  # type: ignore[attr-defined]
            raise UnknownGroupError(f"there is no group {name}")

    def is_draining(self, name: str) -> bool:
        """Whether the group takes no more work."""
        query = select(GroupRow.drain_requested_at).where(GroupRow.name == name)
        return self._session.scalar(query) is not None

    def views(self) -> list[GroupView]:
        """Every group with its devices."""
        devices: dict[str, list[DeviceView]] = {}
        for row in self._session.scalars(select(DeviceRow).order_by(DeviceRow.group_name, DeviceRow.index)):
            devices.setdefault(row.group_name, []).append(_to_view(row))
        return [
            GroupView(
                name=row.name,
                host=row.host,
                kind=row.kind,
                backends=tuple(row.backends),
                version=row.version,
                worker_started_at=row.worker_started_at,
                heartbeat_at=row.heartbeat_at,
                drain_requested_at=row.drain_requested_at,
                drained_by=row.drained_by,
                drain_reason=row.drain_reason,
                devices=tuple(devices.get(row.name, ())),
                installed=installed_in(row),
            )
            for row in self._session.scalars(select(GroupRow).order_by(GroupRow.name))
        ]


def _traits(report: DeviceReport) -> dict[str, Any]:
    return {name: getattr(report, name) for name in TRAITS}


def _to_view(row: DeviceRow) -> DeviceView:
    traits = {name: value for name, value in (row.traits or {}).items() if name in TRAITS}
    return DeviceView(
        id=row.id,
        index=row.index,
        name=row.name,
        memory_bytes=row.memory_bytes,
        memory_used_bytes=row.memory_used_bytes,
        utilization_percent=row.utilization_percent,
        temperature_celsius=row.temperature_celsius,
        state=DeviceState(row.state),
        reason=row.reason,
        replica_id=row.replica_id,
        faulty=row.faulty_at is not None,
        **(traits | {"warnings": tuple(traits.get("warnings", ()))}),
    )
