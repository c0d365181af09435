"""What stands in front of the service, by nginx's own grammar, and what Compose is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import crossplane
import pytest

from app.api.request_body import BODY_SECONDS, MAX_BODY_BYTES
from app.dashboard.forms import MOST_BYTES
from app.main import create_app
from app.settings import Settings
from tests.deploy.test_container_files import COMPOSE_FILES, ROOT

PROXY = ROOT / "deploy" / "nginx" / "evalq.conf"
STREAMS = ("/v1/jobs/{job_id}/events", "/v1/jobs/{job_id}/logs", "/v1/jobs/{job_id}/artifacts.zip")


def read(folder: Path, text: str) -> dict[str, Any]:
    """The file as nginx would read it in its conf.d: every directive known, in its place, with its arguments."""
    (folder / "evalq.conf").write_text(text)
    (folder / "nginx.conf").write_text("events {}\nhttp {\n    include evalq.conf;\n}\n")
    options = {"strict": True, "check_ctx": True, "check_args": True, "combine": True}
    found: dict[str, Any] = crossplane.parse(str(folder / "nginx.conf"), **options)
    return found


def directives(blocks: list[dict[str, Any]], name: str) -> Iterator[dict[str, Any]]:
    for block in blocks:
        if block["directive"] == name:
            yield block
        yield from directives(block.get("block", []), name)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The block that answers over TLS."""
    parsed = read(tmp_path_factory.mktemp("nginx"), PROXY.read_text())
    assert parsed["errors"] == []
    servers = directives(parsed["config"][0]["parsed"], "server")
    _, answering = (each for each in servers if "block" in each)  # not those of the upstream
    block: list[dict[str, Any]] = answering["block"]
    return block


def location(server: list[dict[str, Any]], path: str) -> dict[str, list[str]]:
    """What holds for a path: that of the first pattern that fits, else of the beginning."""
    patterns = [each for each in directives(server, "location") if each["args"][0] == "~"]
    [beginning] = [each for each in directives(server, "location") if each["args"] == ["/"]]
    found = next((each for each in patterns if re.search(each["args"][1], path)), beginning)
    return {each["directive"]: each["args"] for each in found["block"]}


@pytest.mark.parametrize(
    ("good", "bad"),
    [("proxy_buffering off", "proxy_bufering off"), ("proxy_buffering off", "proxy_buffering of"), ("}", "")],
)
def test_a_broken_file_is_found(tmp_path: Path, good: str, bad: str) -> None:
    text = PROXY.read_text()
    assert good in text
    assert read(tmp_path, text.replace(good, bad, 1))["errors"]


@pytest.mark.parametrize("path", [*STREAMS, "/v1/events"])
def test_a_stream_goes_by_as_it_comes(server: list[dict[str, Any]], path: str) -> None:
    held = location(server, path.format(job_id="019aa001-5b6c-7000-8000-000000000001"))
    assert (held["proxy_buffering"], held["gzip"]) == (["off"], ["off"])


@pytest.mark.parametrize(
    "path", ["/", "/v1/jobs", "/v1/jobs/x", "/v1/jobs/x/logs/y", "/v1/eventsx", "/x/v1/events"]
)
def test_what_is_no_stream_may_be_held(server: list[dict[str, Any]], path: str) -> None:
    assert "proxy_buffering" not in location(server, path)


def test_streams_are_paths_that_there_are(settings: Settings) -> None:
    assert set(STREAMS) <= create_app(settings).openapi()["paths"].keys()


def test_the_proxy_takes_what_the_service_takes(server: list[dict[str, Any]]) -> None:
    [size], [seconds] = (
        [each for each in server if each["directive"] == name]
        for name in ("client_max_body_size", "client_body_timeout")
    )
    assert size["args"] == [f"{MAX_BODY_BYTES // 2**20}m"]
    assert location(server, "/submit")["client_max_body_size"] == [f"{MOST_BYTES // 2**20}m"]
    assert seconds["args"] == [f"{BODY_SECONDS:.0f}s"]


def variables(name: str) -> dict[str, str]:
    """What a Compose file asks of `.env`, with the value that it has without."""
    return dict(re.findall(r"\$\{(\w+):-([^}]*)\}", (ROOT / name).read_text()))


def test_the_example_has_every_variable_of_compose_with_its_own_value() -> None:
    asked = {name: value for file in COMPOSE_FILES for name, value in variables(file).items()}
    lines = (ROOT / ".env.example").read_text().splitlines()
    told = [line.removeprefix("#").partition("=")[::2] for line in lines if re.match(r"#?[A-Z_]+=", line)]
    assert asked
    assert dict(told) == asked
    assert len(told) == len(asked), "one is told twice"


def test_no_compose_file_has_a_variable_without_a_value() -> None:
    for name in COMPOSE_FILES:
        assert len(re.findall(r"\$\{", (ROOT / name).read_text())) == len(
            re.findall(r"\$\{\w+:-", (ROOT / name).read_text())
        )
