"""Which backend serves a job: the one that `--model` says, or where no worker has it one that stands in for it."""

from __future__ import annotations

from collections.abc import Collection

from app.backends.backend import Backend
from app.backends.registry import BACKENDS, backend_of_model


def serving(asked: Backend, offered: Collection[str]) -> Backend:
    """The backend itself where it is offered or nothing stands in for it; else the first that does."""
    standing_in = (other for other in stand_ins(asked) if other.name in offered)
    return asked if asked.name in offered else next(standing_in, asked)


def serving_instead(model: str, bound: str, offered: Collection[str]) -> Backend | None:
    """What serves a job of this model better than the backend it is bound to: None while that one is offered.

    What is offered counts though its worker is silent: one that is started again does not lose its jobs to another.
    """
    asked = backend_of_model(model)
    if asked is None or bound in offered or not stand_ins(asked):
        return None
    found = serving(asked, offered)
    return found if found.name in offered else None


def stand_ins(asked: Backend) -> list[Backend]:
    """The backends that may serve its jobs in its place."""
    return [other for other in BACKENDS.values() if other.stands_in_for == asked.name]


def that_serve(model: str) -> list[str]:
    """Every backend that could serve a job of this model, the one that it asks for first."""
    asked = backend_of_model(model)
    return [asked.name, *(other.name for other in stand_ins(asked))] if asked else []
