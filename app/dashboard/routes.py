"""Every router of the dashboard."""

from __future__ import annotations

from fastapi import APIRouter

from app.dashboard import start, static_files
from app.dashboard.pages import screens


def routers() -> tuple[APIRouter, ...]:
    """The cheat sheet first: it lets browsers by."""
    return (start.router, static_files.router, *(screen.router for screen in screens()))
