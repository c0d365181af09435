"""The queue's page and the list of all jobs: who sees what, where pages go on, and what many jobs are told at once."""

from __future__ import annotations

import csv
import io
import re
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from app.dashboard.pages import jobs
from app.domain.job import JobStatus, Phase
from app.domain.keys import Role
from app.errors import UnknownJobError
from app.services.keys import KeyService
from tests.dashboard.conftest import As
from tests.dashboard.test_sign_in import token_of
from tests.jobs import submission
from tests.world import World

EVIL = '"><script>alert(1)</script>\u202e\x1b[31m'


def submit(world: World, team: str = "default", **spec: object) -> UUID:
    job, _ = world.jobs.submit(submission(**spec), "alice", team=team)  # type: ignore[arg-type]
    return job.id


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_a_first_visit_says_how_to_begin(browser: TestClient) -> None:
    page = browser.get("/").text
    assert "No job has been submitted yet" in page
    for path in ("/", "/queue/table", "/workers"):
        assert "No worker has reported yet" in browser.get(path).text, path
    assert "evalq submit -- lm_eval run" in page


def test_the_queue_shows_what_runs_what_waits_and_what_ended(browser: TestClient, world: World) -> None:
    world.devices(2)
    running = world.running(chunks=2, name="nightly")
    world.replica("GPU-0")
    waiting = world.running(chunks=1, name="ablation", model="/models/other")
    world.coordination.enter(waiting, Phase.WAITING_FOR_GPU, "waiting")
    gone = submit(world, name="gone")
    world.jobs.cancel(gone)
    page = browser.get("/").text
    table = dict(re.findall(r'<table class="jobs cards" id="(\w+)">(.*?)</table>', page, re.DOTALL))
    assert str(running.id) in table["running"]
    assert str(waiting.id) in table["waiting"]
    assert str(gone) in table["ended"]
    assert "Waiting for a scheduler to give it 1 free device in one group: none leads." in text_of(
        table["waiting"]
    )
    assert re.search(rf'<a href="/jobs/{running.id}" aria-label="nightly[^"]*, running, GPU 0', page)
    assert "1 running" in page
    assert "1 waiting" in page
    assert 'href="/queue/table"' in page
    told = text_of(browser.get("/queue/table").text)
    assert re.search(r"a 0 \d\d:\d\d \S+ running nightly", told), "what is drawn stands in a table too"


def test_what_runs_is_found_among_many_that_wait(browser: TestClient, world: World) -> None:
    running = [world.running() for _ in range(2)]
    world.devices(1)
    world.replica("GPU-0")
    world.coordination.enter(running[1], Phase.LOADING, "loading")
    for number in range(51):
        waits = world.running(name=f"waits {number}", model="/models/other")
        world.coordination.enter(waits, Phase.WAITING_FOR_GPU, "waiting")
    for path in ("/", "/?after=50"):
        page = browser.get(path).text
        table = page[page.index('id="running"') : page.index('id="waiting-h"')]
        assert re.findall(r'<tr id="job-([^"]+)', table) == [str(each.id) for each in running], path
        assert "2 running" in page
    world.expire(running[1])
    assert "1 running" in browser.get("/").text


def test_jobs_of_other_teams_are_counted_and_not_named(signed_in: As, world: World) -> None:
    world.devices(1)
    theirs = submit(world, "blue", name="secret-name", model="/models/secret")
    lease = world.coordination.claim(theirs, "c")
    assert lease
    world.coordination.enter(lease[0], Phase.WAITING_FOR_GPU, "waiting")
    red, olga = signed_in(team="red"), signed_in(Role.OPERATOR, name="olga")
    submit(world, "red", name="mine")
    page = red.get("/").text
    assert "A job of team" in page
    assert "mine" in page
    for path in ("/", "/jobs", "/workers"):
        for secret in ("secret", str(theirs)):
            assert secret not in red.get(path).text
        assert path == "/workers" or "secret-name" in olga.get(path).text


def test_the_list_is_filtered_as_over_the_api_and_keeps_its_filters(
    browser: TestClient, world: World
) -> None:
    for number in range(3):
        submit(world, name=f"job {number}", tags=("nightly",), model="/models/llama")
    world.jobs.cancel(submit(world, name="other"))
    page = browser.get("/jobs?status=queued&model=llama&created_after=2026-01-01").text
    assert page.count('<tr id="job-') == 3
    assert 'href="/jobs?status=queued&amp;created_after=2026-01-01"' in page, "a chip takes its filter off"
    tabs = text_of(page[page.index('class="tabs"') : page.index("</nav>", page.index('class="tabs"'))])
    assert "All 3 Waiting 3" in tabs, "tabs count what the other filters let through"
    nothing = browser.get("/jobs?owner=nobody&status=failed").text
    assert "No job matches" in nothing
    assert "Nothing has owner nobody, state failed." in text_of(nothing)
    assert browser.get("/jobs?status=nonsense").status_code == 422
    assert browser.get("/jobs?stat=queued").status_code == 400


def test_the_list_goes_on_where_a_page_ends(browser: TestClient, world: World) -> None:
    for number in range(51):
        submit(world, name=f"job {number}")
    first = browser.get("/jobs?tag=").text
    assert first.count('<tr id="job-') == 50
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older
    second = browser.get(older[1].replace("&amp;", "&")).text
    assert second.count('<tr id="job-') == 1
    assert "Newest" in second
    waiting = browser.get("/?after=50").text
    assert waiting.count('id="pick-') == 1
    assert 'name="back" value="/?after=50"' in waiting, "who changes jobs there comes back"
    assert browser.get("/?after=-1").status_code == 422


def test_a_sheet_holds_all_that_the_filters_let_through(
    browser: TestClient, world: World, signed_in: As, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "SHEET_PART", 2)
    for number in range(5):
        submit(world, name=f"=job {number}", tags=("nightly",), team="red")
    submit(world, name="other")
    link = re.search(r'href="(/jobs.csv[^"]*)"', browser.get("/jobs?tag=nightly&status=queued").text)
    assert link
    answer = browser.get(link[1].replace("&amp;", "&"))
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["name"] for row in rows] == [f"'=job {number}" for number in (4, 3, 2, 1, 0)]
    over_the_api = browser.get("/v1/jobs?tag=nightly", headers={"Accept": "text/csv"}).text
    assert next(csv.reader(io.StringIO(over_the_api))) == list(rows[0]), "the columns are the same"
    assert browser.get("/jobs.csv?owner=nobody").text.count("\n") == 1, "a header alone"
    assert signed_in(team="blue").get("/jobs.csv").text.count("\n") == 1


def test_ticked_jobs_are_cancelled_once_that_is_confirmed(browser: TestClient, world: World) -> None:
    ids = [submit(world, name=f"job {number}") for number in range(2)]
    ended = submit(world)
    world.jobs.cancel(ended)
    ticked = {"job": [str(each) for each in (*ids, ended)], "do": "cancel", "back": "/jobs?status=queued"}
    sure = browser.post("/jobs", data=ticked)
    assert "Cancel 2 jobs?" in text_of(sure.text)
    assert "1 of those that were ticked has ended already" in text_of(sure.text)
    assert world.jobs.view(ids[0]).job.status is JobStatus.QUEUED
    sent = re.findall(r'name="job" value="([^"]+)"', sure.text)
    done = browser.post("/jobs", data={**ticked, "job": sent, "sure": "yes"})
    assert (done.status_code, done.headers["location"]) == (303, "/jobs?status=queued")
    assert {world.jobs.view(each).job.status for each in ids} == {JobStatus.CANCELLED}


@pytest.mark.parametrize(
    ("do", "fields", "told"),
    [
        ("pause", {}, (JobStatus.PAUSED, 50)),
        ("priority", {"priority": "70"}, (JobStatus.QUEUED, 70)),
    ],
)
def test_ticked_jobs_are_changed_each_by_itself(
    browser: TestClient, world: World, do: str, fields: dict[str, str], told: tuple[JobStatus, int]
) -> None:
    live, ended = submit(world, name="live"), submit(world, name=EVIL[:3])
    world.jobs.cancel(ended)
    answer = browser.post("/jobs", data={"job": [str(ended), str(live)], "do": do, **fields})
    job = world.jobs.view(live).job
    assert (job.status, job.priority) == told, "one that has ended holds up no other"
    if do == "pause":
        assert "1 of 2 jobs changed" in answer.text


def test_ticked_jobs_that_ended_are_tried_again_or_forgotten(browser: TestClient, world: World) -> None:
    live, ended = submit(world, name="live"), submit(world, name="ended")
    world.jobs.cancel(ended)
    ticked: dict[str, object] = {"job": [str(live), str(ended)], "back": "/jobs"}
    answer = text_of(browser.post("/jobs", data={**ticked, "do": "retry"}).text)
    assert "1 of 2 jobs changed" in answer, "one that may not be tried again holds up no other"
    assert world.jobs.view(ended).job.status is JobStatus.QUEUED
    world.jobs.cancel(ended)
    sure = browser.post("/jobs", data={**ticked, "do": "delete"}).text
    assert "Delete 1 job?" in text_of(sure)
    assert "1 of those that were ticked has not ended and is left as it is" in text_of(sure)
    sent = re.findall(r'name="job" value="([^"]+)"', sure)
    assert sent == [str(ended)]
    assert world.jobs.view(ended).job.status is JobStatus.CANCELLED, "nothing is deleted before that"
    done = browser.post("/jobs", data={**ticked, "do": "delete", "sure": "yes", "job": sent})
    assert (done.status_code, done.headers["location"]) == (303, "/jobs")
    with pytest.raises(UnknownJobError):
        world.jobs.view(ended)
    assert world.jobs.view(live).job.status is JobStatus.QUEUED


@pytest.mark.parametrize(
    "sent",
    [
        {"do": "cancel"},
        {"do": "cancel", "job": "nonsense"},
        {"do": "dance", "job": str(UUID(int=1))},
        {"do": "priority", "job": str(UUID(int=1)), "priority": "99999"},
        {"do": "priority", "job": str(UUID(int=1)), "priority": ""},
        {"do": "pause", "job": [str(UUID(int=n)) for n in range(201)]},
    ],
    ids=["none ticked", "no id", "no change", "no priority", "no number", "too many"],
)
def test_what_no_page_sends_is_refused(browser: TestClient, sent: dict[str, object]) -> None:
    assert browser.post("/jobs", data=sent).status_code == 422


def test_a_ticked_job_of_another_team_stays_as_it_is(signed_in: As, world: World, keys: KeyService) -> None:
    theirs = submit(world, "blue")
    red = signed_in(team="red")
    sent = {"job": str(theirs), "do": "pause", "change_token": token_of(red.get("/").text)}
    red.post("/jobs", data=sent)
    assert world.jobs.view(theirs).job.status is JobStatus.QUEUED
    viewer = signed_in(Role.VIEWER, team="blue", name="vic")
    assert 'name="job"' not in viewer.get("/").text
    token = token_of(viewer.get("/").text)
    assert viewer.post("/jobs", data={**sent, "change_token": token}).status_code == 403


def test_no_way_back_leads_elsewhere(browser: TestClient, world: World) -> None:
    job = submit(world)
    answer = browser.post("/jobs", data={"job": str(job), "do": "pause", "back": "https://evil.example/"})
    assert answer.headers["location"] == "/"


def test_hostile_names_are_shown_and_do_nothing(browser: TestClient, world: World) -> None:
    lease = world.running(chunks=1, name=EVIL, tasks=(EVIL,), model=EVIL)
    world.devices(1)
    world.coordination.enter(lease, Phase.WAITING_FOR_GPU, EVIL)
    submit(world, name=EVIL)
    for path in ("/", "/queue/table", "/jobs", "/workers"):
        page = browser.get(path).text
        assert "<script>alert" not in page
        assert not set("\u202e\x1b") & set(page)


def test_a_list_tells_and_keeps_the_filters_as_they_are(browser: TestClient, world: World) -> None:
    job = submit(world)
    page = browser.get(f"/jobs?id={str(job)[:20]}&created_after=2026-11-01T00:00:00%2B05:00").text
    assert f'href="/jobs?id={job.hex[:17]}"' in page, "a chip takes its filter off, and no other"
    assert 'href="/jobs?created_after=2026-10-31T19%3A00%3A00%2B00%3A00"' in page
    precise = browser.get("/jobs?created_after=2026-11-01T00:00:00.000001").text
    assert "status=queued&amp;created_after=2026-11-01T00%3A00%3A00.000001%2B00%3A00" in precise
