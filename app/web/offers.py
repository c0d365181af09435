"""What a call can answer with, as its document says: who reads nothing of it is told before anything is done."""

from __future__ import annotations

from fastapi import Request
from fastapi.datastructures import DefaultPlaceholder
from fastapi.routing import APIRoute

from app.web.preference import accepts, preferred
from app.web.problems import NotAcceptableError

PROBLEM = "application/problem+json"
"""What every call may answer with."""


async def acceptable(request: Request) -> None:
    """NotAcceptableError unless the client reads a kind that this call has."""
    route = request.scope["route"]
    offered = _offered(route) if isinstance(route, APIRoute) else ()
    if offered and not accepts(request.headers.get("accept", ""), (*offered, PROBLEM)):
        raise NotAcceptableError(
            f"this call answers with {' or '.join(offered)}, and Accept wants none of it"
        )


def _offered(route: APIRoute) -> tuple[str, ...]:
    """Media types of its successful answers; none where they have no body."""
    answers = [answer for status, answer in route.responses.items() if str(status) < "3"]
    told = [media_type for answer in answers for media_type in answer.get("content", ())]
    kind = route.response_class
    kind = kind.value if isinstance(kind, DefaultPlaceholder) else kind
    own = [kind.media_type] if kind.media_type and route.status_code != 204 else []
    return tuple(dict.fromkeys([*own, *told]))


def chosen(request: Request, *offered: str) -> str:
    """The kind that the client would rather read; the first where it says nothing."""
    return preferred(request.headers.get("accept", ""), *offered)


def kinds(says: str, *media_types: str) -> dict[int | str, dict[str, object]]:
    """OpenAPI's `responses` for a success that can be had as these kinds of text, too."""
    content = {media_type: {"schema": {"type": "string"}} for media_type in media_types}
    return {200: {"description": says, "content": content}}
