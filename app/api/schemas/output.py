"""What a job leaves behind, as clients see it."""

from __future__ import annotations

from typing import Any

from app.api.schemas.job import Out


class SamplePage(Out):
    """lm-eval's sample rows, each with its task; NaN and infinities are null."""

    data: list[dict[str, Any]]
    next_cursor: str | None


class ArtifactOut(Out):
    """A file as lm-eval writes it."""

    name: str
    media_type: str
    href: str


class ArtifactList(Out):
    """The job's files; none before it has results."""

    data: list[ArtifactOut]
