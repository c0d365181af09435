"""Clients that are generated from the OpenAPI document, and `curl`, against one live service."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from app.api.schemas.events import JobEventList
from tests.integrators.answers import ANSWERS, keys
from tests.integrators.conftest import Live
from tests.integrators.generators import Programs
from tests.integrators.lines import lines
from tests.integrators.shell import Shell

HERE = Path(__file__).parent
UNREAD = {"application/yaml", "text/plain", "application/zip"}
"""What openapi-python-client does not know: jobs as YAML or text, which it writes as JSON, and files, left as bytes."""


def test_the_document_is_valid(document: Path, python_tools: Programs) -> None:
    assert "OK" in python_tools.run("openapi-spec-validator", str(document), cwd=document.parent)


def test_a_python_client_does_all_that_it_has_to(
    live: Live, document: Path, python_tools: Programs, tmp_path: Path
) -> None:
    made = python_tools.run(
        *("openapi-python-client", "generate", "--meta", "none"),
        *("--path", str(document), "--output-path", "evalq_client"),
        cwd=tmp_path,
    )
    assert set(re.findall(r"Unsupported content.type ([\w/]+)", made)) == UNREAD
    assert made.count("WARNING") == len(UNREAD), made[-4000:]
    said = python_tools.run(
        *("python", str(HERE / "uses_python.py"), live.url, str(live.model)),
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert said.startswith("operator read ")


def test_types_for_typescript_hold_at_run_time(
    live: Live, document: Path, node_tools: Programs, tmp_path: Path
) -> None:
    shutil.copy(HERE / "uses_types.ts", tmp_path)
    (tmp_path / "package.json").write_text(json.dumps({"type": "module"}))
    (tmp_path / "node_modules").symlink_to(node_tools.folder / "node_modules")
    node_tools.run("openapi-typescript", str(document), "-o", "evalq.d.ts", cwd=tmp_path)
    strict = ("--noEmit", "--strict", "--target", "esnext", "--module", "preserve", "--lib", "esnext,dom")
    node_tools.run("tsc", *strict, "uses_types.ts", cwd=tmp_path)
    assert "events" in node_tools.run(
        "node", "--preserve-symlinks", "uses_types.ts", live.url, str(live.model), cwd=tmp_path
    )


def test_every_event_says_what_its_type_promises(live: Live) -> None:
    """Of a job that is answered, one that dies with its engines, and one that is put aside and cancelled."""
    args: dict[str, Any] = {"pretrained": str(live.model)}
    ways: list[dict[str, Any]] = [{}, {"fail_on": "Clara"}, {"dies_on": "Clara"}, {"delay_seconds": 5}]
    base = {"model": "echo", "tasks": ["e2e_generate"], "limit": 8, "batch_size": 4, "reuse_responses": False}
    ids = [live.stack.submit(base | {"model_args": args | way}) for way in ways]
    for change in ("pause", "resume", "cancel"):
        assert live.stack.http.post(f"/jobs/{ids[-1]}/{change}").status_code == 200
    seen = set()
    for job_id in ids:
        live.stack.finished(job_id)
        events = live.stack.events(job_id)
        read = JobEventList.model_validate({"data": events}).model_dump(mode="json", exclude_unset=True)
        for event, understood in zip(events, read["data"], strict=True):
            assert understood["data"].keys() == event["data"].keys(), event
            seen.add(event["type"])
    assert {"replica.ended", "job.task_finished", "job.cancelled"} <= seen


def test_lines_of_the_documents_do_what_they_say(live: Live, tmp_path: Path) -> None:
    """Every `curl` of the README and of docs/, typed as it stands there."""
    if shutil.which("curl") is None:
        pytest.skip("not run: there is no curl on this machine")
    shell = Shell(live, tmp_path)
    for line in lines():
        said = shell.type(line)
        for key in keys(line):
            assert ANSWERS[key](said), f"{line}: {said[:2000]}"
    headers = (tmp_path / "headers.txt").read_text().lower()
    assert "\netag:" in headers
    assert "\nlink:" in headers


def test_what_the_root_says_to_a_terminal_works(live: Live, tmp_path: Path) -> None:
    """It takes the newest job, which is one that has ended here."""
    args = {"pretrained": str(live.model)}
    job = live.stack.run({"model": "echo", "model_args": args, "tasks": ["e2e_choice"], "limit": 2})
    sheet = live.stack.http.get(f"{live.url}/").text
    said = Shell(live, tmp_path).run(sheet[sheet.index("# ") :])
    assert said.startswith('{"valid":')
    assert re.search(f"job +{job['id']}", said)
    assert "event: job.succeeded" in said
    assert '"acc,none"' in said
    assert '"arc_easy"' in said
