"""Results, samples, files, logs."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID
from zipfile import ZipFile

import pytest
from fastapi.testclient import TestClient

from app.domain.job import JobStatus
from app.domain.quality import TaskQuality
from tests.api.conftest import Coordinator
from tests.world import World

DATE = "2026-11-22T00-00-00"


def test_there_are_no_results_before_a_task_is_scored(api: TestClient, job_id: str) -> None:
    answer = api.get(f"/v1/jobs/{job_id}/results")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_results_yet")
    assert api.get(f"/v1/jobs/{job_id}/samples").json() == {"data": [], "next_cursor": None}
    assert api.get(f"/v1/jobs/{job_id}/artifacts").json() == {"data": []}


def test_a_finished_task_can_be_read_before_the_job_ends(
    api: TestClient, job_id: str, coordinator: Coordinator
) -> None:
    lease = coordinator.claim(job_id)
    coordinator.service.task_finished(lease, "toy", {"acc,none": 0.5})
    document = api.get(f"/v1/jobs/{job_id}/results").json()
    assert document["results"] == {"toy": {"acc,none": 0.5}}
    assert document["evalq"]["complete"] is False


def test_results_are_the_document_with_null_for_nan(
    api: TestClient, job_id: str, coordinator: Coordinator
) -> None:
    coordinator.finish(job_id)
    document = api.get(f"/v1/jobs/{job_id}/results").json()
    assert document["results"] == {"toy": {"acc,none": None}}
    assert document["evalq"]["complete"] is True


def test_the_quality_of_a_task_stands_in_its_job_and_beside_the_results(
    api: TestClient, job_id: str, coordinator: Coordinator
) -> None:
    lease = coordinator.claim(job_id)
    coordinator.service.prepared(lease, b"f" * 32, [("toy", 8), ("old", 1)], {})
    quality = TaskQuality(4, 1, 8, 2, None, 8, 3, 0, 16, {"strict": 2, "a\x00b": 0})
    coordinator.service.task_finished(lease, "toy", {"acc,none": 0.5}, quality=quality)
    coordinator.service.task_finished(lease, "old", {"acc,none": 0.5})
    shown = api.get(f"/v1/jobs/{job_id}/results").json()["evalq"]["quality"]
    assert shown == {"toy": quality.to_json() | {"filter_found_nothing": {"strict": 2, "a\ufffdb": 0}}}
    [toy, old] = api.get(f"/v1/jobs/{job_id}").json()["tasks"]
    assert (toy["quality"], old["quality"]) == (shown["toy"], None)
    coordinator.service.stop(lease, JobStatus.QUEUED, "begins anew")
    again = coordinator.claim(job_id)
    coordinator.service.prepared(again, b"f" * 32, [("toy", 8), ("old", 1)], {})
    assert api.get(f"/v1/jobs/{job_id}").json()["tasks"][0]["quality"] is None


def test_samples_are_filtered_and_paged(api: TestClient, job_id: str, coordinator: Coordinator) -> None:
    coordinator.finish(job_id)
    url = f"/v1/jobs/{job_id}/samples"
    first = api.get(url, params={"limit": 1}).json()
    second = api.get(url, params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert first["data"] == [{"task": "toy", "doc_id": 0, "acc": 1.0}]
    assert second == {"data": [{"task": "toy", "doc_id": 1, "acc": None}], "next_cursor": None}
    found = {
        "all": [0, 1],
        "": [0, 1],
        "correct": [0],
        "incorrect": [1],
        "error": [],
        "truncated": [1],
        "empty": [1],
    }
    for chosen, ids in found.items():
        assert [row["doc_id"] for row in api.get(url, params={"filter": chosen}).json()["data"]] == ids
    assert api.get(url, params={"task": "other"}).json()["data"] == []
    assert api.get(url, params={"filter": "wrong"}).status_code == 422
    assert api.get(url, params={"cursor": "WyJ0b3kiLCAieCJd"}).status_code == 422


def test_files_are_as_lm_eval_writes_them(api: TestClient, job_id: str, coordinator: Coordinator) -> None:
    coordinator.finish(job_id)
    listed = api.get(f"/v1/jobs/{job_id}/artifacts").json()["data"]
    assert [file["name"] for file in listed] == [f"results_{DATE}.json", f"samples_toy_{DATE}.jsonl"]
    results, samples = (api.get(file["href"]) for file in listed)
    assert results.text == '{"results": {"toy": {"acc,none": NaN}}}'
    assert samples.text == '{"doc_id": 0, "acc": 1.0}\n{"doc_id": 1, "acc": NaN}\n'
    assert results.headers["content-type"] == "application/json"
    assert samples.headers["content-type"] == "application/jsonl"
    assert samples.headers["content-disposition"].startswith("attachment; filename")


def test_all_files_come_as_one_zip(api: TestClient, job_id: str, coordinator: Coordinator) -> None:
    url = f"/v1/jobs/{job_id}/artifacts.zip"
    assert (api.get(url).status_code, api.get(url).json()["code"]) == (409, "no_results_yet")
    coordinator.finish(job_id)
    answer = api.get(url)
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == f'attachment; filename="{job_id}.zip"'
    with ZipFile(io.BytesIO(answer.content)) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    listed = api.get(f"/v1/jobs/{job_id}/artifacts").json()["data"]
    assert files == {f"tiny/{file['name']}": api.get(file["href"]).text for file in listed}


def test_an_unknown_file_is_not_found(api: TestClient, job_id: str) -> None:
    answer = api.get(f"/v1/jobs/{job_id}/artifacts/results_x.json")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_artifact")


@pytest.mark.parametrize(
    "part", ["results", "samples", "artifacts", "artifacts.zip", "artifacts/x", "logs", "events"]
)
def test_nothing_is_left_of_a_job_that_never_was(api: TestClient, part: str) -> None:
    answer = api.get(f"/v1/jobs/{UUID(int=1)}/{part}")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_job")


def test_logs_are_text(api: TestClient, job_id: str, coordinator: Coordinator) -> None:
    coordinator.finish(job_id)
    url = f"/v1/jobs/{job_id}/logs"
    assert api.get(url).text == "one\ntwo\nthree\n"
    assert api.get(url).headers["content-type"].startswith("text/plain")
    assert api.get(url, params={"tail": 2}).text == "two\nthree\n"
    assert api.get(url, params={"tail": 0}).text == ""


def test_a_log_tells_which_replica_wrote_what(api: TestClient, world: World) -> None:
    world.devices(1)
    job, replica = world.running(), world.replica("GPU-0")
    world.coordination.add_log(job.id, "harness\n")
    world.serving.add_log(replica.id, "loading\n", None)
    world.serving.add_log(replica.id, "answering\n", job.id)
    text = f"harness\n==> replica {replica.id} <==\nloading\nanswering\n"
    assert api.get(f"/v1/jobs/{job.id}/logs").text == text


def test_a_followed_log_ends_with_the_job(api: TestClient, job_id: str, coordinator: Coordinator) -> None:
    with ThreadPoolExecutor(1) as pool:
        followed = pool.submit(api.get, f"/v1/jobs/{job_id}/logs", params={"follow": True})
        coordinator.finish(job_id)
        assert followed.result(timeout=20).text == "one\ntwo\nthree\n"


def test_a_files_size_can_be_seen_before_it_is_fetched(
    api: TestClient, job_id: str, coordinator: Coordinator
) -> None:
    coordinator.finish(job_id, '{"results": {"toy": {"alias": "größer"}}}')
    for file in api.get(f"/v1/jobs/{job_id}/artifacts").json()["data"]:
        seen, fetched = api.head(file["href"]), api.get(file["href"])
        assert (seen.status_code, seen.content) == (200, b"")
        assert (
            seen.headers["content-length"] == str(len(fetched.content)) == fetched.headers["content-length"]
        )
