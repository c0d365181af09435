"""The OpenAPI document as those meet it who generate a client from it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from app.domain.job import JobStatus

ROOT = Path(__file__).parents[2]
TYPE = re.compile(r'"((?:job|replica)\.[a-z_]+)"')
MOST_CHARACTERS = 28
"""Of an operation's name: longer ones are no names for functions."""


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from path.values()


def references(part: Any) -> Iterator[str]:
    """Every `$ref` in a part of the document."""
    if isinstance(part, dict):
        yield from (value for name, value in part.items() if name == "$ref")
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from references(each)


def test_operations_have_short_names_of_their_own(document: dict[str, Any]) -> None:
    names = Counter(operation["operationId"] for operation in operations(document))
    assert names.most_common(1)[0][1] == 1
    assert {name for name in names if len(name) > MOST_CHARACTERS or not name.isidentifier()} == set()


def test_bodies_have_names(document: dict[str, Any]) -> None:
    """One that stands in the call itself is called after the call, by every generator otherwise."""
    bodies = [operation["requestBody"] for operation in operations(document) if "requestBody" in operation]
    kinds = [kind["schema"] for body in bodies for kind in body["content"].values()]
    assert {"$ref": "#/components/schemas/JobIn"} in kinds
    assert [kind for kind in kinds if "$ref" not in kind and kind["type"] != "string"] == []


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    components = document["components"]
    known = {f"#/components/{kind}/{name}" for kind in ("headers", "schemas") for name in components[kind]}
    assert set(references(document)) <= known


def test_what_is_refused_is_always_the_same_problem(document: dict[str, Any]) -> None:
    refusals = [
        answer["content"]
        for operation in operations(document)
        for status, answer in operation["responses"].items()
        if int(status) >= 400
    ]
    problem = {"$ref": "#/components/schemas/Problem"}
    assert [each for each in refusals if [kind["schema"] for kind in each.values()] != [problem]] == []


def test_generated_clients_fill_nothing_in(document: dict[str, Any]) -> None:
    """A default of a body would overrule a command, or what a change leaves as it is."""
    schemas = document["components"]["schemas"]
    bodies = [schemas[name]["properties"] for name in ("JobIn", "JobPatch", "CancelIn")]
    assert [name for fields in bodies for name, field in fields.items() if "default" in field] == []


def test_every_type_of_event_is_described(document: dict[str, Any]) -> None:
    described = set(document["components"]["schemas"]["JobEvent"]["discriminator"]["mapping"])
    sources = [*(ROOT / "app" / "services").rglob("*.py"), *(ROOT / "workers").rglob("*.py")]
    written = {name for path in sources for name in TYPE.findall(path.read_text())}
    assert {"job.progress", "replica.ended"} < written <= described
    ends = {f"job.{status}" for status in JobStatus if status is not JobStatus.RUNNING}
    assert ends < described


def test_what_clients_go_by_is_declared(document: dict[str, Any]) -> None:
    answers = document["paths"]["/v1/jobs"]["get"]["responses"]
    assert answers["200"]["headers"].keys() == {"X-Request-Id", "Link"}
    assert answers["429"]["headers"].keys() == {"X-Request-Id", "Retry-After"}
    assert "Location" in document["paths"]["/v1/jobs"]["post"]["responses"]["202"]["headers"]


def test_the_page_for_integrators_names_every_event(document: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    described = document["components"]["schemas"]["JobEvent"]["discriminator"]["mapping"]
    assert [name for name in described if f"`{name}`" not in page] == []
