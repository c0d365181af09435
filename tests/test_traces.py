"""Spans are made where a collector is named, and whatever is wrong with it harms nobody."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading

import pytest

from app.domain.trace import TraceParent
from app.settings import Settings
from app.single_host.ports import free_port
from app.traces import Beginning, NoTraces, traces_of
from tests.collector import collecting

NAMED = "http://127.0.0.1:9"
PARENT = TraceParent.new()


def named(url: str, monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    """Of an operator who names this collector, and sets these variables of OpenTelemetry's own."""
    for name, value in {"OTEL_EXPORTER_OTLP_ENDPOINT": url, **variables}.items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_without_a_collector_no_exporter_is_loaded() -> None:
    """Redis' own client loads the SDK wherever that is installed."""
    code = (
        "import sys; from app.settings import Settings; from app.traces import traces_of; import workers.tasks;"
        " traces_of(Settings(), 'worker');"
        " print(*(name for name in sys.modules if name.startswith(('opentelemetry.exporter', 'google.protobuf'))))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []


def test_without_the_package_the_log_says_that_nothing_is_sent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "app.traces.sending", None)
    assert isinstance(traces_of(named(NAMED, monkeypatch), "api"), NoTraces)
    assert "evalq[otel] is not installed" in caplog.text


@pytest.mark.parametrize(
    ("name", "value"),
    [("OTEL_BSP_MAX_QUEUE_SIZE", "-1"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0")],
)
def test_a_variable_that_cannot_be_costs_the_traces_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, value: str
) -> None:
    traces = traces_of(named(NAMED, monkeypatch, **{name: value}), "api")
    traces.begin(Beginning("a")).end()
    traces.close()
    assert isinstance(traces, NoTraces)
    assert "no traces are sent" in caplog.text


def test_a_collector_for_spans_alone_gets_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.url}/v1/traces")
        traces = traces_of(Settings(), "api")
        traces.begin(Beginning("a", PARENT)).end()
        traces.close()
        [span] = collector.spans()
    assert (span.service, span.name, span.parent_id) == ("mine", "a", PARENT.span_id)


def test_a_process_that_ends_sends_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        traces = traces_of(named(collector.url, monkeypatch), "worker")
        spans = [traces.begin(Beginning("a", PARENT, {"n": n}, links=[PARENT, None])) for n in range(600)]
        for span in spans:
            span.end(failure="lost")
            span.end()
        traces.close()
        found = collector.spans(PARENT.trace_id)
    assert [span.attributes["n"] for span in found] == list(range(600))
    assert {(span.service, span.failed, span.links) for span in found} == {
        ("evalq-worker", True, (PARENT.trace_id,))
    }


@pytest.mark.parametrize("trouble", ["closed", "hangs", "refuses", "is no collector"])
def test_a_bad_collector_costs_spans_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    with collecting(404 if trouble == "refuses" else 200, hangs=trouble == "hangs") as collector:
        bad = {"closed": f"http://127.0.0.1:{free_port()}", "is no collector": "hello"}
        few = {"OTEL_BSP_MAX_QUEUE_SIZE": "64", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8"}
        traces = traces_of(named(bad.get(trouble, collector.url), monkeypatch, **few), "api")
        assert not isinstance(traces, NoTraces)
        for _ in range(500):
            traces.begin(Beginning("a", PARENT)).end()
        closing = threading.Thread(target=traces.close, daemon=True)
        closing.start()
        closing.join(30)
        assert not closing.is_alive()
        traces.begin(Beginning("late")).end()
        assert collector.spans() == []
    said = [record for record in caplog.records if record.name.startswith("app.")]
    assert len(said) <= 1
    assert all(record.levelno == logging.WARNING for record in said)
