"""Templates to pages. What a page shows is escaped, and what cannot be seen in it is written out, whatever it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from app.asking import request_id
from app.dashboard.meanings import meaning
from app.dashboard.pages import has_page, navigation
from app.dashboard.states import failure_words, replica_state
from app.dashboard.static_files import static
from app.dashboard.words import (
    clock,
    duration,
    minute,
    named,
    number,
    plain,
    score,
    seen,
    since,
    until,
    when,
)
from app.web.walls import walls


def _visible(value: Any) -> Any:
    """Text that no filter has shown: what others wrote reaches a page by no way as it is."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _made() -> Environment:
    made = Environment(
        loader=PackageLoader("app.dashboard"),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "clock": clock,
        "duration": duration,
        "minute": minute,
        "named": named,
        "number": number,
        "score": score,
        "seen": seen,
        "since": since,
        "until": until,
        "when": when,
    }
    made.globals |= {
        "failure_words": failure_words,
        "has_page": has_page,
        "meaning": meaning,
        "navigation": navigation,
        "replica_state": replica_state,
        "static": static,
        "version": version("evalq"),
    }
    return made


TEMPLATES = _made()


def page(
    request: Request,
    template: str,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:
    """A page for whoever asks; `live` among the values is the path of its stream."""
    shown = rendered(template, **(surroundings(request) | values))
    return HTMLResponse(shown, status, {**walls(request.url.path), **(headers or {})})


def rendered(template: str, **values: Any) -> str:
    """A template with these values; every page knows the time as `now`."""
    known = {"now": datetime.now(UTC), "live": None, "active": None, **values}
    return str(TEMPLATES.get_template(template).render(known))


def surroundings(request: Request) -> dict[str, Any]:
    """Who asks, and what their changes must carry."""
    state = request.state
    sign_in = getattr(state, "sign_in", None)
    sign_ins = request.app.state.services.sign_ins
    return {
        "asker": getattr(state, "caller", None),
        "signed_in": sign_in is not None,
        "change_token": lambda: sign_ins.change_token(sign_in) if sign_in else "",
        "request_id": request_id.get() or "",
    }
