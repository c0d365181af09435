"""Engine backends over HTTP: which there are, where they are installed, and whether they work there."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Depends

from app.api.problems import problems
from app.api.schemas.cluster import BackendList, BackendOut, InstalledOut, ToleranceOut
from app.backends import BACKENDS, Backend
from app.domain.group import GroupView
from app.web.deps import Services, ServicesDep, known_parameters

router = APIRouter(prefix="/v1/backends", tags=["backends"], dependencies=[Depends(known_parameters)])


@router.get("", summary="List engine backends", responses=problems())
def list_backends(services: ServicesDep) -> BackendList:
    """What `model` may say, where each is installed with which versions, and whether it works there."""
    groups = [state.group for state in services.groups.all()]
    usable = (backend for backend in BACKENDS.values() if backend.allowed(services.settings))
    return BackendList(data=[_backend(services, backend, groups) for backend in usable])


def _backend(services: Services, backend: Backend, groups: list[GroupView]) -> BackendOut:
    installed = [found for group in groups for found in _installed(services, backend, group)]
    needed = backend.lock is not None and not installed
    return BackendOut(
        name=backend.name,
        model_names=list(backend.model_names),
        devices=sorted(backend.devices),
        stands_in_for=backend.stands_in_for,
        planned_only=backend.planned_only,
        available=any(found.alive and found.problem is None for found in installed),
        installed=installed,
        install=f"evalq backends install {backend.name}" if needed else None,
    )


def _installed(services: Services, backend: Backend, group: GroupView) -> list[InstalledOut]:
    alive = group.alive(datetime.now(UTC), services.settings.lease)
    return [
        InstalledOut(
            group=group.name,
            host=group.host,
            alive=alive,
            versions=dict(report.versions),
            size_bytes=report.size_bytes,
            problem=report.problem,
            tolerances=[ToleranceOut.model_validate(each) for each in report.tolerances],
        )
        for report in group.installed
        if report.name == backend.name
    ]
