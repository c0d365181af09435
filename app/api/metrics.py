"""Prometheus metrics: every name, its labels, and what it means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from app.api.health import VERSION
from app.api.problems import problems
from app.domain.job import JobStatus
from app.domain.ledger import Outcome
from app.domain.replica import DeviceState
from app.domain.tally import BOUNDS, Counted, Tallied
from app.services.metrics import Scraped
from app.web.deps import ServicesDep, known_parameters
from app.web.offers import chosen, kinds

router = APIRouter(tags=["health"], dependencies=[Depends(known_parameters)])

COUNTERS: Mapping[Counted, tuple[tuple[str, ...], str]] = {
    Counted.JOBS_FINISHED: (
        ("status", "backend", "code"),
        "Jobs that ended, by how; the code of the error where there was one.",
    ),
    Counted.REQUESTS: (("group", "backend"), "Requests that engines answered."),
    Counted.TOKENS: (("kind",), "Tokens that engines read and generated."),
    Counted.GPU_SECONDS: (("outcome",), "Device seconds by what came of them."),
    Counted.LEASE_EXPIRED: (
        ("kind",),
        "Leases of jobs and replicas whose worker did not renew them, or never claimed what was placed.",
    ),
}
"""Each with its labels."""

KNOWN: Mapping[Counted, Iterable[str]] = {
    Counted.GPU_SECONDS: Outcome,
    Counted.LEASE_EXPIRED: ("job", "replica"),
}
"""Values of a label that are told before the first time: a rate needs a beginning."""

DURATIONS: Mapping[Counted, tuple[tuple[str, ...], str]] = {
    Counted.QUEUE_WAIT: ((), "Seconds from a job's submission to its first start."),
    Counted.PHASE: (("phase",), "Seconds that ended jobs spent in each phase."),
}
KINDS = ("text/plain", "application/openmetrics-text")
JOBS = "Jobs that are stored; of those that have not ended the group they are to run in, empty for any."


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=PlainTextResponse,
    responses=problems() | kinds("The metrics.", *KINDS),
)
def read_metrics(services: ServicesDep, request: Request) -> PlainTextResponse:
    """Jobs, devices, what engines did and where time went; as OpenMetrics for who asks for that."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(services.metrics.read()))
    encode, media_type = choose_encoder(chosen(request, *KINDS))
    return PlainTextResponse(encode(registry), media_type=media_type)


class _Families(Collector):
    """A reading as Prometheus takes it."""

    def __init__(self, reading: Scraped) -> None:
        self._reading = reading

    def collect(self) -> Iterator[Metric]:
        """Every family, those without a sample included."""
        reading = self._reading
        yield _gauge("build_info", "The version that answers.", ("version",), {(VERSION,): 1})
        yield _gauge("jobs", JOBS, ("status", "group"), _jobs(reading.jobs))
        yield _gauge("gpus", "Devices.", ("group", "state"), _devices(reading))
        yield _gauge(
            "worker_heartbeat_age_seconds",
            "Seconds since a group's worker was heard of.",
            ("group",),
            {(group,): age for group, age in reading.silence.items()},
        )
        for what, (labels, text) in COUNTERS.items():
            yield _counter(what, text, labels, _counts(reading.tallies, what, labels))
        for what, (labels, text) in DURATIONS.items():
            yield _histogram(reading.tallies, what, text, labels)


def _gauge(name: str, text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(f"evalq_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(
    name: str, text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> Metric:
    family = CounterMetricFamily(f"evalq_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _jobs(found: Mapping[tuple[str, str], int]) -> dict[tuple[str, ...], float]:
    shown: dict[tuple[str, ...], float] = {(status, ""): 0 for status in JobStatus}
    shown.update(found.items())
    return shown


def _devices(reading: Scraped) -> dict[tuple[str, ...], float]:
    return {
        (group, state): reading.devices.get((group, state), 0)
        for group in reading.silence
        for state in DeviceState
    }


def _counts(
    tallies: Iterable[Tallied], what: Counted, labels: tuple[str, ...]
) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = {(value,): 0 for value in KNOWN.get(what, ())}
    for key, own in _by_labels(tallies, what, labels).items():
        found[key] = sum(tally.amount for tally in own)
    return found


def _histogram(tallies: Iterable[Tallied], what: Counted, text: str, labels: tuple[str, ...]) -> Metric:
    family = HistogramMetricFamily(f"evalq_{what}", text, labels=labels)
    for key, own in _by_labels(tallies, what, labels).items():
        buckets = [(_shown(bound), sum(t.times for t in own if (t.bound or 0) <= bound)) for bound in BOUNDS]
        family.add_metric(key, buckets, sum(tally.amount for tally in own))
    return family


def _by_labels(
    tallies: Iterable[Tallied], what: Counted, labels: tuple[str, ...]
) -> dict[tuple[str, ...], list[Tallied]]:
    """By the values of these labels; one that a row of another version lacks is empty."""
    found: dict[tuple[str, ...], list[Tallied]] = {}
    for tally in tallies:
        if tally.what is what:
            key = tuple(str(tally.labels.get(label) or "") for label in labels)
            found.setdefault(key, []).append(tally)
    return found


def _shown(bound: float) -> str:
    return "+Inf" if math.isinf(bound) else f"{bound:g}"
