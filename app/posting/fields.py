"""The fields of a spec as they may be posted: nothing is turned into another kind, and null is as good as absent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import or_
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BeforeValidator, Field, StrictBool, StrictFloat, StrictInt, StrictStr
from pydantic_core import PydanticCustomError

from app.workloads.lm_eval.spec import FIELDS, LmEvalSpec, Told, Within, about

ALSO: Mapping[str, Any] = {
    "model_args": StrictStr,
    "tasks": StrictStr,
    "samples": StrictStr,
    "gen_kwargs": StrictStr,
    "metadata": StrictStr,
    "seed": StrictInt | StrictStr,
}
"""Other ways to write a field, which are read into the type that the spec has."""
_STRICT: Mapping[Any, Any] = {bool: StrictBool, int: StrictInt, float: StrictFloat, str: StrictStr}
_HINTS = get_type_hints(LmEvalSpec, include_extras=True)


def posted_fields() -> dict[str, Any]:
    """By name a type and what is told of it, as `pydantic.create_model` takes them.

    Defaults stand in words only: a client that fills them in would overrule the command that it posts beside them.
    """
    return {
        name: (_either([stated(name), *([ALSO[name]] if name in ALSO else []), None]), _told(name))
        for name in FIELDS
    }


def stated(name: str) -> Any:
    """The type of a field that says something: without null."""
    hint = _HINTS[name]
    kinds = get_args(hint) if _is_union(hint) else [hint]
    return _either([_shape(kind, about(name)) for kind in kinds if kind is not NoneType])


def _told(name: str) -> Any:
    told, default = about(name), getattr(LmEvalSpec(), name)
    words = (
        told.says if default in (None, "", (), {}) else f"{told.says} Unless given: {json.dumps(default)}."
    )
    return Field(None, description=words, json_schema_extra=_judged(told))


def _judged(told: Told) -> dict[str, Any]:
    """Bounds that are judged behind the shape, each for the kind of value that it bounds."""
    number = told.number or Within()
    bounds = {
        "exclusiveMinimum" if number.above else "minimum": number.least,
        "maximum": number.most,
        "maxLength": told.characters,
        "maxProperties": told.names,
    }
    return {keyword: bound for keyword, bound in bounds.items() if bound is not None}


def _shape(hint: Any, told: Told) -> Any:
    """A type of the spec in Pydantic's terms, with the bounds that are part of it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return Annotated[_shape(inner[0], told), *_limits(inner[0], inner[1], told)]
    if _is_union(hint):
        return _either([None if kind is NoneType else _shape(kind, told) for kind in inner])
    if origin is tuple:
        return list[_shape(inner[0], told)]  # type: ignore[misc]
    if origin is Mapping:
        return dict[str, StrictStr if inner[1] is str else Any]  # type: ignore[misc]
    return _STRICT.get(hint, hint)


def _limits(kind: Any, within: Within, told: Told) -> list[Any]:
    if get_origin(kind) is Mapping:
        return [BeforeValidator(few(within.most))]
    if kind is str or get_origin(kind) is tuple:
        return [Field(min_length=within.least, max_length=within.most)]
    says = told.says if within == told.number else None
    if within.above:
        return [Field(gt=within.least, le=within.most, description=says)]
    return [Field(ge=within.least, le=within.most, description=says)]


def few(most: int | None) -> Callable[[Any], Any]:
    """A check that an object has few names."""

    def checked(value: Any) -> Any:
        """Refused before its parts are looked at: each of ten thousands would be a fault of its own."""
        if isinstance(value, dict) and most is not None and len(value) > most:
            raise PydanticCustomError("too_long", f"Dictionary should have at most {most} names")
        return value

    return checked


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in {Union, UnionType}


def _either(kinds: Sequence[Any]) -> Any:
    return reduce(or_, kinds)
