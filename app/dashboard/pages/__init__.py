"""Screens, one file for each; a new one is found by its file."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

ORDER = ("Queue", "Submit", "Workers", "Usage")
"""Of the links at the top of each page."""


@cache
def screens() -> tuple[ModuleType, ...]:
    """Every screen: a module with its `router`, and `LINK`, name and path, where it stands in the navigation."""
    names = sorted(each.name for each in iter_modules(__path__))
    return tuple(import_module(f"{__name__}.{name}") for name in names)


@cache
def _paths() -> frozenset[str]:
    return frozenset(route.path for screen in screens() for route in screen.router.routes)


def has_page(path: str) -> bool:
    """Whether there is a screen at a path, as its router writes it: no page links to one that is not there."""
    return path in _paths()


@cache
def navigation() -> tuple[tuple[str, str], ...]:
    """Names and paths of the links at the top of each page."""
    links = [screen.LINK for screen in screens() if hasattr(screen, "LINK")]
    return tuple(sorted(links, key=lambda link: ORDER.index(link[0])))
