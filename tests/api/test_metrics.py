"""What Prometheus reads: each name of the design, with its labels, in both formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from fastapi.testclient import TestClient
from prometheus_client import parser
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.samples import Sample

from app.domain.replica import DeviceState
from tests.world import World

LABELS = {
    "evalq_build_info": {"version"},
    "evalq_jobs": {"status", "group"},
    "evalq_jobs_finished_total": {"status", "backend", "code"},
    "evalq_queue_wait_seconds_bucket": {"le"},
    "evalq_phase_seconds_bucket": {"phase", "le"},
    "evalq_requests_total": {"group", "backend"},
    "evalq_tokens_total": {"kind"},
    "evalq_gpus": {"group", "state"},
    "evalq_gpu_seconds_total": {"outcome"},
    "evalq_lease_expired_total": {"kind"},
    "evalq_worker_heartbeat_age_seconds": {"group"},
}


def samples(families: Iterable[Metric]) -> list[Sample]:
    return [sample for family in families for sample in family.samples]


@pytest.fixture
def scraped(busy: World, api: TestClient) -> list[Sample]:
    answer = api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    return samples(parser.text_string_to_metric_families(answer.text))


def value(found: list[Sample], name: str, **labels: str) -> float:
    [one] = [each for each in found if each.name == name and each.labels == labels]
    return one.value


def test_every_name_has_its_labels_and_no_other(scraped: list[Sample]) -> None:
    found = {sample.name: set(sample.labels) for sample in scraped}
    assert {name: found[name] for name in LABELS} == LABELS
    families = {name.removesuffix("_bucket") for name in LABELS}
    rest = set(found) - set(LABELS)
    assert rest == {
        f"{name}{part}" for name in families for part in ("_sum", "_count") if f"{name}_bucket" in LABELS
    }


def test_states_are_counted_as_they_are(scraped: list[Sample]) -> None:
    assert value(scraped, "evalq_jobs", status="queued", group="") == 1
    assert value(scraped, "evalq_jobs", status="running", group="") == 0
    assert value(scraped, "evalq_gpus", group="a", state="held") == 1
    assert value(scraped, "evalq_gpus", group="a", state="free") == 1
    assert {each.labels["state"] for each in scraped if each.name == "evalq_gpus"} == set(DeviceState)
    assert 0 <= value(scraped, "evalq_worker_heartbeat_age_seconds", group="a") < 60
    assert value(scraped, "evalq_requests_total", group="a", backend="hf") == 2
    assert value(scraped, "evalq_tokens_total", kind="processed") == 50
    assert value(scraped, "evalq_gpu_seconds_total", outcome="useful") > 0
    assert value(scraped, "evalq_lease_expired_total", kind="job") == 1
    assert value(scraped, "evalq_lease_expired_total", kind="replica") == 0


def test_buckets_hold_what_is_below_them(scraped: list[Sample]) -> None:
    waits = [each.value for each in scraped if each.name == "evalq_queue_wait_seconds_bucket"]
    assert waits == sorted(waits)
    assert waits[-1] == value(scraped, "evalq_queue_wait_seconds_count") == 2
    assert value(scraped, "evalq_phase_seconds_count", phase="preparing") == 1


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/plain; version=abc", "text/plain"),
        ("application/openmetrics-text; version=abc", "application/openmetrics-text"),
        ("application/openmetrics-text; q=0.1, text/plain", "text/plain"),
        ("application/openmetrics-text; version=1.0.0; q=0.5, */*; q=0.1", "application/openmetrics-text"),
    ],
)
def test_the_kind_is_the_one_that_the_client_would_rather_read(
    api: TestClient, accept: str, kind: str
) -> None:
    answer = api.get("/metrics", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, kind)


def test_openmetrics_is_given_to_who_asks(busy: World, api: TestClient) -> None:
    answer = api.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    read: Callable[[str], Iterable[Metric]] = openmetrics_parser.text_string_to_metric_families
    found = samples(read(answer.text))
    assert set(LABELS) <= {sample.name for sample in found}


def test_an_empty_service_can_be_scraped(api: TestClient) -> None:
    found = samples(parser.text_string_to_metric_families(api.get("/metrics").text))
    assert value(found, "evalq_jobs", status="queued", group="") == 0
    assert value(found, "evalq_gpu_seconds_total", outcome="useful") == 0


def test_a_groups_name_breaks_out_of_no_label(world: World, api: TestClient) -> None:
    name = 'a"} 1\nevalq_jobs{x="\\'
    world.devices(1, group=name)
    found = samples(parser.text_string_to_metric_families(api.get("/metrics").text))
    assert value(found, "evalq_gpus", group=name, state="free") == 1
