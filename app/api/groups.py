"""GPU groups over HTTP: what they have, what is warm; drain and resume."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Depends

from app.api.problems import problems
from app.api.rendering import failure_out
from app.api.schemas.cluster import DeviceOut, EngineOut, GroupList, GroupOut, GroupReplicaOut
from app.domain.group import unusable
from app.domain.replica import Replica
from app.errors import UnknownGroupError
from app.services.groups import GroupState
from app.web.deps import CallerDep, Services, ServicesDep, known_parameters

router = APIRouter(prefix="/v1/groups", tags=["groups"], dependencies=[Depends(known_parameters)])


@router.get("", summary="List GPU groups", responses=problems())
def list_groups(services: ServicesDep, caller: CallerDep) -> GroupList:
    """Devices with memory, utilization and temperature; replicas; what is warm."""
    return GroupList(data=[_group(services, state) for state in services.groups.all(caller.sees)])


@router.post("/{name}/drain", summary="Drain a group", responses=problems(UnknownGroupError))
def drain_group(name: str, services: ServicesDep, caller: CallerDep) -> GroupOut:
    """Its replicas finish their chunks; it gets no more work. Safe to repeat."""
    services.groups.drain(name, by=caller.name)
    return _named(services, name)


@router.post("/{name}/resume", summary="Give a group work again", responses=problems(UnknownGroupError))
def resume_group(name: str, services: ServicesDep) -> GroupOut:
    """Its devices that were drained as broken are looked at and given out again. Safe to repeat."""
    services.groups.resume(name)
    return _named(services, name)


def _named(services: Services, name: str) -> GroupOut:
    for state in services.groups.all():
        if state.group.name == name:
            return _group(services, state)
    raise UnknownGroupError(f"there is no group {name}")


def _group(services: Services, state: GroupState) -> GroupOut:
    group = state.group
    return GroupOut(
        name=group.name,
        host=group.host,
        kind=group.kind,
        backends=list(group.backends),
        unusable_backends=unusable(group.installed),
        version=group.version,
        worker_started_at=group.worker_started_at,
        heartbeat_at=group.heartbeat_at,
        alive=group.alive(datetime.now(UTC), services.settings.lease),
        draining=group.drain_requested_at is not None,
        drain_requested_at=group.drain_requested_at,
        drained_by=group.drained_by,
        drain_reason=group.drain_reason,
        devices=[DeviceOut.model_validate(device) for device in group.devices],
        replicas=[
            _replica(replica, state.reason(replica), known=replica.engine.key in state.known_engines)
            for replica in state.replicas
        ],
    )


def _replica(replica: Replica, reason: str | None, *, known: bool) -> GroupReplicaOut:
    told = {"reason": reason, "devices": list(replica.devices), "error": failure_out(replica.error)}
    fields = {
        name: getattr(replica, name) for name in GroupReplicaOut.model_fields if name not in told
    } | told
    if not known:
        fields |= {"engine": EngineOut(backend=replica.engine.backend), "error": None}
    return GroupReplicaOut.model_validate(fields)
