"""What the schema of a body says is what is read: its fields, their bounds and their defaults."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from app.api.schemas.submission import JobPatch
from app.domain.keys import Role
from app.errors import InvalidJobError
from app.posting.fields import ALSO
from app.posting.job_body import JobIn
from app.posting.submitting import checked
from app.workloads.lm_eval.reading.read import read
from app.workloads.lm_eval.spec import FIELDS, LmEvalSpec, about
from tests.workloads.lm_eval.reading.desk import Desk

SCHEMA: dict[str, Any] = JobIn.model_json_schema()["properties"]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("desk"))


def faults(desk: Desk, field: str, value: Any) -> list[str]:
    """What a posted body is told of one field."""
    settings = desk.settings.model_copy(update={"env_allowed": [f"V{n}" for n in range(300)]})
    submissions = SimpleNamespace(check=lambda body: read(body, (), settings))
    services: Any = SimpleNamespace(submissions=submissions, settings=settings)
    body = {"model": "hf", "model_args": {"pretrained": "gpt2"}, "tasks": ["ours"]}
    try:
        checked(services, body | {field: value}, Role.OPERATOR)
    except InvalidJobError as error:
        return [f.message for f in error.faults if f.path.partition(".")[0] == field]
    return []


TEXTS = {
    "seed": "1",
    "model_args": "pretrained=gpt2,x=",
    "gen_kwargs": "until=",
    "metadata": "x=",
    "tasks": "ours,",
}
"""How a long text of a field begins."""


def beyond(field: str, keyword: str, bound: int) -> Any:
    """The first value that the keyword forbids."""
    match keyword:
        case "minimum":
            return bound - 1
        case "exclusiveMinimum":
            return bound
        case "maximum":
            return bound + 1
        case "maxLength":
            return TEXTS.get(field, "").ljust(bound + 1, "x")
        case "maxProperties":
            return {f"V{number}": "x" for number in range(bound + 1)}
        case "maxItems":
            return [1] * (bound + 1) if field == "seed" else [f"t{number}" for number in range(bound + 1)]
        case _:
            raise AssertionError(keyword)


def within(field: str, keyword: str, bound: int) -> Any:
    """The last value that the keyword allows."""
    match keyword:
        case "minimum" | "maximum":
            return bound
        case "exclusiveMinimum":
            return bound + 1
        case "maxLength":
            return TEXTS.get(field, "").ljust(bound, "x")
        case "maxProperties":
            return {f"V{number}": "x" for number in range(bound)}
        case _:
            return [1] * bound if field == "seed" else [f"t{number}" for number in range(bound)]


BOUNDS = ("minimum", "exclusiveMinimum", "maximum", "maxLength", "maxProperties", "maxItems")


def told() -> Iterator[tuple[str, str, int]]:
    """Every bound of every field: those beside its ways of being written are the narrower ones."""
    for field, schema in SCHEMA.items():
        bounds = {keyword: way[keyword] for way in schema["anyOf"] for keyword in BOUNDS if keyword in way}
        bounds |= {keyword: schema[keyword] for keyword in BOUNDS if keyword in schema}
        yield from ((field, keyword, bound) for keyword, bound in bounds.items())


def test_a_body_has_the_fields_of_a_spec_and_the_command() -> None:
    assert list(SCHEMA) == ["command", "variables", "files", *FIELDS]
    assert JobPatch.model_fields.keys() < set(FIELDS)
    assert ALSO.keys() < set(FIELDS)


@pytest.mark.parametrize("field", FIELDS)
def test_the_schema_says_what_a_field_means_and_its_default(field: str) -> None:
    default = LmEvalSpec().to_json()[field]
    described = SCHEMA[field]["description"]
    assert described.startswith(about(field).says)
    assert ("Unless given: " in described) == (default not in (None, "", [], {}))
    assert SCHEMA[field]["default"] is None, "one that clients fill in would overrule a command"


@pytest.mark.parametrize("field", FIELDS)
def test_every_bound_of_a_field_is_in_the_schema(field: str) -> None:
    known = {(keyword, bound) for name, keyword, bound in told() if name == field}
    one = about(field)
    least = "exclusiveMinimum" if one.number and one.number.above else "minimum"
    expected = {
        (least, one.number and one.number.least),
        ("maximum", one.number and one.number.most),
        ("maxLength", one.characters),
        ("maxProperties", one.names),
    }
    assert {(keyword, bound) for keyword, bound in expected if bound is not None} <= known


@pytest.mark.parametrize(("field", "keyword", "bound"), list(told()))
def test_what_the_schema_forbids_is_refused_and_nothing_less(
    desk: Desk, field: str, keyword: str, bound: int
) -> None:
    assert faults(desk, field, beyond(field, keyword, bound))
    said = faults(desk, field, within(field, keyword, bound))
    assert not [message for message in said if f"at most {bound}" in message or "must be" in message]
