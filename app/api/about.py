"""Who asks, and what answers, over HTTP."""

from __future__ import annotations

import platform
from importlib.metadata import version

from fastapi import APIRouter, Depends

from app.api.problems import problems
from app.api.schemas.about import MeOut, VersionOut
from app.web.deps import CallerDep, known_parameters

router = APIRouter(prefix="/v1", tags=["about"], dependencies=[Depends(known_parameters)])

VERSION = VersionOut(
    version=version("evalq"), api="v1", lm_eval=version("lm_eval"), python=platform.python_version()
)


@router.get("/me", summary="Read who asks", responses=problems())
async def read_me(caller: CallerDep) -> MeOut:
    """The holder of the key that was sent; without keys everybody is the same operator."""
    return MeOut(name=caller.name, team=caller.team, role=caller.role, sees_all_teams=caller.sees is None)


@router.get("/version", summary="Read versions", responses=problems())
async def read_version() -> VersionOut:
    """Of evalq, of this API, and of what evaluates; those of backends are at `/v1/backends`."""
    return VERSION
