"""The API's own document, to read and to try: Swagger UI, from here and from no other host."""

from __future__ import annotations

from fastapi import Request, Response

from app.dashboard.rendering import page
from app.dashboard.routing import pages

router = pages()


@router.get("/docs")
async def read_docs(request: Request) -> Response:
    """Swagger UI over `/openapi.json`."""
    return page(request, "docs.html")
