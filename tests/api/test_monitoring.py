"""Dashboards and alerts ask for what the service tells: each expression is parsed, each name looked up in a scrape."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml
from fastapi.testclient import TestClient
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import parser

from app.domain.job import JobStatus
from app.domain.ledger import Outcome
from app.domain.replica import DeviceState
from tests.world import World

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
VALUES: Mapping[str, frozenset[str]] = {
    "status": frozenset(JobStatus),
    "state": frozenset(DeviceState),
    "outcome": frozenset(Outcome),
}
OF_PROMETHEUS = {"up": frozenset({"job", "instance"})}

Known = Mapping[str, frozenset[str]]


def dashboard(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.read_text())
    return document


def alerts() -> list[dict[str, Any]]:
    document = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def shown() -> list[str]:
    """What dashboards ask, with Grafana's own variable filled in."""
    panels = [panel for file in DASHBOARDS for panel in dashboard(file)["panels"]]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    return [expression.replace("$__rate_interval", "5m") for expression in asked]


def nodes(expression: Any) -> Iterator[Any]:
    """The parsed expression and all that is in it."""
    yield expression
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        if inner := getattr(expression, name, None):
            yield from nodes(inner)
    for argument in getattr(expression, "args", ()):
        yield from nodes(argument)


def wrong(expression: str, known: Known) -> list[str]:
    """What it asks for that nobody tells."""
    parsed = list(nodes(promql.parse(expression)))
    asked = [(str(node.name), node) for node in parsed if isinstance(node, promql.VectorSelector)]
    missing = [name for name, _ in asked if name not in known]
    labels = frozenset().union(*(known.get(name, frozenset()) for name, _ in asked))
    sums = [node.modifier for node in parsed if isinstance(node, promql.AggregateExpr)]
    missing += [label for by in sums if by for label in by.labels if label not in labels]
    for name, selector in asked:
        missing += _unmatched(selector, known.get(name, frozenset()))
    return missing


def _unmatched(selector: Any, labels: frozenset[str]) -> Iterator[str]:
    for matcher in selector.matchers.matchers:
        if matcher.name not in labels:
            yield f"{selector.name}{{{matcher.name}}}"
        for value in matcher.value.split("|"):
            if value not in VALUES.get(matcher.name, {value}):
                yield f"{matcher.name}={value}"


@pytest.fixture
def known(busy: World, api: TestClient) -> Known:
    """Every sample's name, with its labels."""
    found: dict[str, frozenset[str]] = dict(OF_PROMETHEUS)
    for family in parser.text_string_to_metric_families(api.get("/metrics").text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, frozenset()) | frozenset(sample.labels)
    return found


def test_all_that_is_shown_and_alerted_on_exists(known: Known) -> None:
    expressions = [*shown(), *(rule["expr"] for rule in alerts())]
    assert len(expressions) > 20
    assert {each: wrong(each, known) for each in expressions if wrong(each, known)} == {}


@pytest.mark.parametrize(
    ("expression", "missing"),
    [
        ("sum(evalq_job)", "evalq_job"),
        ('evalq_jobs{state="free"}', "evalq_jobs{state}"),
        ('evalq_jobs{status=~"queued|waiting"}', "status=waiting"),
        ("sum by (host) (evalq_gpus) > 0", "host"),
        ("1 > rate(evalq_gpu_seconds[5m])", "evalq_gpu_seconds"),
    ],
)
def test_what_does_not_exist_is_found(known: Known, expression: str, missing: str) -> None:
    assert wrong(expression, known) == [missing]


@pytest.mark.parametrize("name", ["evalq_jobs", "evalq_queue_wait_seconds_bucket", "evalq_gpu_seconds_total"])
def test_what_matters_is_shown(name: str) -> None:
    assert any(name in expression for expression in shown())


def test_an_alert_says_what_it_is() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names))
    for rule in alerts():
        assert rule["annotations"]["summary"], rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}, rule["alert"]


def lost(given: Any, kept: Any, at: str = "") -> Iterator[str]:
    """Where a document differs from what Grafana's schema made of it."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            yield from lost(value, kept.get(name), f"{at}.{name}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (value, other) in enumerate(zip(given, kept, strict=True)):
            yield from lost(value, other, f"{at}[{number}]")
    elif given != kept:
        yield at


def differences(document: dict[str, Any]) -> list[str]:
    """Fields that Grafana does not have: it reads past them."""
    register_default_plugins()
    return list(lost(document, json.loads(JSONEncoder().encode(Dashboard.from_json(document)))))


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_is_of_grafanas_schema(file: Path) -> None:
    assert differences(dashboard(file)) == []


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_field_that_grafana_does_not_have_is_found(file: Path) -> None:
    document = dashboard(file)
    document["panels"][0]["targets"][0]["expresion"] = "up"
    document["panels"][0]["titel"] = "Jobs"
    assert differences(document) == [".panels[0].targets[0].expresion", ".panels[0].titel"]


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_panels_have_places_of_their_own(file: Path) -> None:
    panels = dashboard(file)["panels"]
    places = [(p["gridPos"]["x"] + x, p["gridPos"]["y"] + y) for p in panels for x, y in _cells(p["gridPos"])]
    assert len(places) == len(set(places))
    assert all(x < 24 for x, _ in places)
    assert len({panel["id"] for panel in panels}) == len(panels)


def _cells(size: Mapping[str, int]) -> Iterator[tuple[int, int]]:
    yield from ((x, y) for x in range(size["w"]) for y in range(size["h"]))
