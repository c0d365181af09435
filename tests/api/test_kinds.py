"""Answers as other kinds than JSON, 406 where there is none, and jobs that are posted as YAML or as text."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.posting.written import from_yaml
from app.web.preference import accepts
from tests.api.conftest import JOB, Coordinator

DOCUMENT = {
    "results": {"toy": {"alias": "toy", "acc,none": 0.5, "acc_stderr,none": 0.1}},
    "versions": {"toy": 1.0},
    "n-shot": {"toy": 0},
    "higher_is_better": {"toy": {"acc": True}},
    "config": {"batch_sizes": [64]},
}


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_jobs_as_lines(api: TestClient) -> None:
    for name in ('a "quoted, name', "two\nlines", "=1+1"):
        api.post("/v1/jobs", json=JOB | {"name": name, "tags": ["x", "y"]})
    listed = api.get("/v1/jobs").json()["data"]
    lines = api.get("/v1/jobs", headers={"Accept": "application/jsonl"})
    assert lines.headers["content-type"] == "application/jsonl"
    assert [json.loads(line) for line in lines.text.splitlines()] == listed
    table = api.get("/v1/jobs?limit=2", headers={"Accept": "text/csv"})
    assert table.headers["content-type"].startswith("text/csv")
    assert 'rel="next"' in table.headers["link"]
    found = rows(table.text)
    assert [row["name"] for row in found] == ["'=1+1", "two\nlines"]
    assert [(row["id"], row["tags"], row["done"], row["percent"]) for row in found] == [
        (job["id"], "x,y", "0", "") for job in listed[:2]
    ]


def test_results_as_lm_eval_prints_them(api: TestClient, job_id: str, coordinator: Coordinator) -> None:
    coordinator.finish(job_id, json.dumps(DOCUMENT))
    url = f"/v1/jobs/{job_id}/results"
    for kind in ("text/markdown", "text/plain"):
        answer = api.get(url, headers={"Accept": kind})
        assert answer.headers["content-type"].startswith(kind)
        first, _, header, *table = answer.text.splitlines()
        assert first == (
            "hf ({'pretrained': '/models/tiny'}), gen_kwargs: ({}), limit: None, num_fewshot: None,"
            " batch_size: auto ([64])"
        )
        assert header.startswith("|Tasks|Version|Filter|n-shot|Metric|")
        assert "|toy  |" in table[-1]
    answer = api.get(url, headers={"Accept": "text/csv"})
    [row] = rows(answer.text)
    assert (row["job"], row["model"], row["task"], row["value"]) == (job_id, "/models/tiny", "toy", "0.5")
    assert row["ended_at"]
    assert api.get(url).json()["results"] == DOCUMENT["results"]


def test_samples_as_lines(api: TestClient, job_id: str, coordinator: Coordinator) -> None:
    coordinator.finish(job_id)
    url = f"/v1/jobs/{job_id}/samples"
    lines = api.get(url, headers={"Accept": "application/jsonl"}).text.splitlines()
    assert [json.loads(line) for line in lines] == api.get(url).json()["data"]


def test_what_nobody_has_is_refused_before_anything_is_done(api: TestClient, job_id: str) -> None:
    for method, path in (
        ("GET", "/v1/jobs"),
        ("GET", f"/v1/jobs/{job_id}"),
        ("GET", f"/v1/jobs/{job_id}/events"),
        ("POST", f"/v1/jobs/{job_id}/cancel"),
        ("POST", "/v1/jobs"),
        ("GET", "/v1/groups"),
    ):
        answer = api.request(
            method, path, json=JOB if path == "/v1/jobs" else None, headers={"Accept": "image/png"}
        )
        assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable"), path
        assert "application/json" in answer.json()["detail"]
    assert [job["status"] for job in api.get("/v1/jobs").json()["data"]] == ["queued"]
    assert api.request("DELETE", f"/v1/jobs/{job_id}", headers={"Accept": "image/png"}).status_code == 409
    assert api.get("/v1/nowhere", headers={"Accept": "image/png"}).status_code == 404


def test_who_reads_problems_alone_is_answered(api: TestClient, job_id: str) -> None:
    asked = {"Accept": "application/problem+json"}
    assert api.get(f"/v1/jobs/{job_id}", headers=asked).status_code == 200
    assert api.get("/v1/jobs", headers={"Accept": "application/problem+json;q=0"}).status_code == 406


@pytest.mark.parametrize(
    ("accept", "read"),
    [
        ("", True),
        ("*/*", True),
        ("application/*", True),
        ("APPLICATION/JSON;q=0.1", True),
        ("text/html, */*;q=0.1", True),
        (";;;,,,q=1,=", True),
        ("json", True),
        ("text/html", False),
        ("application/json;q=0", False),
        ("application/json;q=0, */*", False),
        ("image/png, text/*", False),
    ],
)
def test_a_client_that_says_nothing_reads_everything(accept: str, read: bool) -> None:
    assert accepts(accept, ["application/json"]) is read


@pytest.mark.parametrize("kind", ["application/yaml", "text/yaml; charset=utf-8", "application/x-yaml"])
def test_a_job_as_yaml(api: TestClient, kind: str) -> None:
    text = (
        "model: hf\nmodel_args:\n  pretrained: /models/tiny\ntasks: [toy]\npriority: 70\ntags:\n- nightly\n"
    )
    answer = api.post("/v1/jobs", content=text, headers={"Content-Type": kind})
    assert answer.status_code == 202, answer.text
    assert (answer.json()["priority"], answer.json()["tags"]) == (70, ["nightly"])


def test_settings_of_lm_eval_are_a_file_that_a_command_names() -> None:
    found = from_yaml("model: hf\ntasks: [toy]\noutput_path: out\npriority: 7\n")
    assert found.pop("command") == "lm_eval run --config settings.yaml"
    assert found.pop("files") == {"settings.yaml": {"output_path": "out"}}
    assert found == {"model": "hf", "tasks": ["toy"], "priority": 7}
    assert from_yaml("modle: hf\n") == {"modle": "hf"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"a: &x [1]\nb: *x\n", "alias"),
        (b"a: 1\na: 2\n", "twice"),
        (b"- a\n- b\n", "must hold names"),
        (b"", "must hold names"),
        (b"a: [", "not YAML"),
        (b"a: !!int ''\n", "JSON has not"),
        (b"a: !!bool x\n", "JSON has not"),
        (b"a: !!timestamp x\n", "JSON has not"),
        (b'a: "\\UFFFFFFFF"\n', "JSON has not"),
        (b"a: !!python/object/apply:os.system ['true']\n", "not YAML"),
        (b"a: .nan\n", "JSON has not"),
        (b"a: 2026-11-27\n", "JSON has not"),
        (b"\xff\xfe", "UTF-8"),
        (b"a: " + b"x" * 70_000, "characters"),
        (b"[" * 20_000, ""),
    ],
)
def test_yaml_that_is_none_of_a_job_is_refused_in_words(api: TestClient, body: bytes, words: str) -> None:
    answer = api.post("/v1/jobs", content=body, headers={"Content-Type": "application/yaml"})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json"), answer.text
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    "kind", ["text/plain", "text/plain;charset=utf-8", "application/x-sh", "text/x-shellscript"]
)
def test_a_command_as_text(app: FastAPI, api: TestClient, kind: str) -> None:
    submissions, seen = app.state.services.submissions, list[Any]()
    before = submissions.check

    def check(fields: Any) -> Any:
        seen.append(dict(fields))
        return before(JOB)

    submissions.check = check
    text = "#!/bin/bash\nlm_eval run --model hf --tasks toy\n"
    assert api.post("/v1/jobs", content=text, headers={"Content-Type": kind}).status_code == 202
    assert seen == [{"command": text}]


def test_text_that_is_json_is_told_what_it_is(api: TestClient) -> None:
    answer = api.post("/v1/jobs", content=json.dumps(JOB), headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    nul = api.post("/v1/jobs", content=b"lm_eval \x00", headers={"Content-Type": "text/plain"})
    assert (nul.status_code, nul.json()["code"]) == (422, "invalid_request")


def test_no_page_of_another_site_posts_a_command(api: TestClient) -> None:
    """Browsers send text without asking first."""
    headers = {"Content-Type": "text/plain", "Origin": "https://evil.example"}
    answer = api.post("/v1/jobs", content="lm_eval run --model hf --tasks toy", headers=headers)
    assert answer.json()["code"] == "cross_site"
