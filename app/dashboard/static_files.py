"""Style, scripts and what was vendored: small files that are read once, and named by what is in them."""

from __future__ import annotations

import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Response
from starlette.exceptions import HTTPException

router = APIRouter(include_in_schema=False)

FOR_GOOD = "public, max-age=31536000, immutable"
"""A file's address changes with what is in it."""


@dataclass(frozen=True)
class StaticFile:
    """A file as it is served."""

    content: bytes
    media_type: str
    tag: str


@cache
def static_files() -> dict[str, StaticFile]:
    """All of them, by their paths."""
    return dict(_below(files("app.dashboard") / "static", ""))


def _below(folder: Traversable, path: str) -> list[tuple[str, StaticFile]]:
    found: list[tuple[str, StaticFile]] = []
    for each in folder.iterdir():
        here = f"{path}{each.name}"
        found += _below(each, f"{here}/") if each.is_dir() else [(here, _read(each))]
    return found


def _read(file: Traversable) -> StaticFile:
    content = file.read_bytes()
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return StaticFile(content, kind, hashlib.sha256(content).hexdigest()[:16])


def static(name: str) -> str:
    """The address of a file; KeyError where there is none, when a page is first made and not when it is looked at."""
    return f"/static/{static_files()[name].tag}/{name}"


@router.get("/static/{tag}/{name:path}")
def read_static(tag: str, name: str) -> Response:
    """A file; an old page may name it by what was in it then."""
    file = static_files().get(name)
    if file is None:
        raise HTTPException(404)
    headers = {"Cache-Control": FOR_GOOD if tag == file.tag else "no-cache"}
    return Response(file.content, media_type=file.media_type, headers=headers)
