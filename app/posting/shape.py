"""Faults of shape: of every field at once, in words."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from app.errors import FaultyField
from app.web.problems import in_words

_NEAR_FAULTS = 5
"""Unknown fields that are told what is near."""


def shape_faults(model: type[BaseModel], fields: Mapping[str, Any]) -> list[FaultyField]:
    """Every field whose type is wrong or whose name is unknown; a union that fails is one fault."""
    known = {name: value for name, value in fields.items() if name in model.model_fields}
    unknown = [name for name in fields if name not in model.model_fields]
    return [
        *_type_faults(model, known),
        *(_unknown(name, model, near=at < _NEAR_FAULTS) for at, name in enumerate(unknown)),
    ]


def _type_faults(model: type[BaseModel], fields: Mapping[str, Any]) -> list[FaultyField]:
    try:
        model.model_validate(fields)
    except ValidationError as error:
        said: dict[tuple[str, ...], list[str]] = {}
        for detail in error.errors(include_url=False, include_input=False, include_context=False):
            said.setdefault(_place(detail["loc"], fields), []).append(detail["msg"])
        above = {place[:length] for place in said for length in range(len(place))}
        return [
            FaultyField(".".join(place), in_words(messages))
            for place, messages in said.items()
            if place not in above
        ]
    return []


def root(fault: FaultyField) -> str:
    """The top-level field of a fault."""
    return fault.path.partition(".")[0]


def _unknown(name: str, model: type[BaseModel], *, near: bool) -> FaultyField:
    alike = get_close_matches(name, model.model_fields, n=3) or model.model_fields if near else ()
    return FaultyField(name, "there is no such field", tuple(alike) or None)


def _place(location: tuple[int | str, ...], fields: Mapping[str, Any]) -> tuple[str, ...]:
    """The part of a Pydantic location that exists in the body: the rest names members of a union."""
    parts: list[str] = []
    here: Any = fields
    for step in location:
        if isinstance(here, Mapping) and (step in here or not parts):
            here = here.get(step)
        elif isinstance(here, list) and isinstance(step, int):
            here = here[step]
        else:
            continue
        parts.append(str(step))
    return tuple(parts)
