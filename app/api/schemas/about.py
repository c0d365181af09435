"""Who asks, and what answers, as clients see it."""

from __future__ import annotations

from pydantic import Field

from app.api.schemas.job import Out
from app.domain.keys import Role


class MeOut(Out):
    """Who asks."""

    name: str = Field(description="The owner of what this caller submits.")
    team: str
    role: Role
    sees_all_teams: bool


class VersionOut(Out):
    """What answers, and what it evaluates with."""

    version: str = Field(description="Of evalq.")
    api: str
    lm_eval: str
    python: str
