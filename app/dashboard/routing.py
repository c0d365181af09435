"""Routers of pages: what holds for every one of them."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from app.dashboard.forms import checked_form
from app.web.deps import known_parameters


def pages() -> APIRouter:
    """A router of pages: known parameters alone, and no change without the token of its sign-in."""
    return APIRouter(
        include_in_schema=False,
        default_response_class=HTMLResponse,
        dependencies=[Depends(known_parameters), Depends(checked_form)],
    )
