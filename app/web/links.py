"""Where a list goes on: the `Link` header (RFC 8288)."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import Request


def page_links(request: Request, next_cursor: str | None) -> dict[str, str]:
    """A header with the first page, and the next one where there is one, with the parameters that were sent."""
    sent = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor" and value]
    places = {"first": sent} | ({"next": [*sent, ("cursor", next_cursor)]} if next_cursor else {})
    links = [f'<{_place(request.url.path, query)}>; rel="{name}"' for name, query in places.items()]
    return {"Link": ", ".join(links)}


def _place(path: str, query: list[tuple[str, str]]) -> str:
    return f"{path}?{urlencode(query)}" if query else path
