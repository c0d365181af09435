"""Every screen as a person sees it: accessible in both schemes, from here alone, with no error, whatever a job says."""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import UUID

import pytest

from app.domain.failure import Failure, FailureCode
from app.domain.job import JobStatus, Phase
from app.domain.keys import Role
from app.domain.output import SampleLine
from app.domain.replica import DeviceState
from app.web.streams import Admission
from tests.browser.conftest import PHONE, WIDE, Place, Window
from tests.waiting import until

Opened = Callable[..., Window]
EVIL = (
    '"><img src=x onerror=alert(1)><script>alert(1)</script>\u202e\x1b[31m\u200b a_very_long/name_that_goes_on'
    * 3
)
VISIBLE = """() => {{
  Object.defineProperty(document, "hidden", {{ value: {hidden}, configurable: true }});
  document.dispatchEvent(new Event("visibilitychange"));
}}"""
AT_ITS_END = """() => {
  const box = document.getElementById("log-lines"), lines = box.firstElementChild;
  return box.scrollHeight > box.clientHeight
      && lines.getBoundingClientRect().bottom <= box.getBoundingClientRect().bottom;
}"""
PASTED = '{"model": "hf", "model_args": {"pretrained": "/models/tiny"},\n "tasks": ["toy"]}'
TASKS = ("toy", "other", EVIL[:60])


@pytest.fixture(scope="module")
def jobs(place: Place) -> dict[str, UUID]:
    """A job in each state, with what a stranger would call things."""
    found, world = {}, place.world
    world.devices(2)
    world.mark("GPU-1", DeviceState.DRAINED)
    world.replica("GPU-0")
    lease = world.running(chunks=1)
    world.coordination.add_log(lease.id, f"line\n{EVIL}\n")
    error = Failure(
        FailureCode.GPU_OUT_OF_MEMORY,
        f"it does not fit: {EVIL}",
        hint="take more devices",
        log_tail=("torch.OutOfMemoryError", EVIL),
        attempts=({"at": "2026-11-26T14:00:00Z", "change": "max_num_seqs 256 -> 64", "outcome": EVIL},),
        ways_out=({"change": {"gpus_per_replica": 4}, "fits": True, "note": "33.9 GiB on each"},),
    )
    world.coordination.fail(lease, error)
    found["failed"] = lease.id
    done = world.running(chunks=0)
    world.coordination.task_finished(done, "toy", {"acc,none": 0.5, "acc_stderr,none": 0.1})
    lines = [SampleLine(json.dumps({"doc_id": at, "resps": [[EVIL]], "target": EVIL})) for at in range(3)]
    world.coordination.add_samples(done, "toy", 0, lines)
    world.coordination.finish(done, '{"results": {"toy": {"acc,none": 0.5}}}', "tiny", "2026-11-22T00-00-00")
    found["done"] = done.id
    found["running"] = world.running(chunks=2).id
    aside = world.running(chunks=1, name=EVIL, model="/models/other")
    world.coordination.enter(aside, Phase.WAITING_FOR_GPU, EVIL)
    found["waiting"] = world.submit(name=EVIL, tags=(EVIL[:50],), tasks=TASKS)
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_screen_is_accessible_and_whole(window: Opened, jobs: dict[str, UUID], scheme: str) -> None:
    paths = [
        "/",
        "/queue/table",
        "/jobs",
        "/jobs?owner=nobody",
        "/workers",
        "/nowhere",
        "/submit",
        "/usage",
        f"/jobs/{jobs['done']}/samples",
        f"/submit?clone={jobs['waiting']}",
        "/sign-in",
        *(f"/jobs/{each}" for each in jobs.values()),
        f"/jobs/{jobs['failed']}?find=x",
    ]
    for size in (WIDE, PHONE):
        seen = window(viewport=size, color_scheme=scheme)
        for path in paths:
            page = seen.open(path)
            assert seen.violations() == [], path
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, size)
            assert page.locator("img").count() == 0
        seen.faults = [fault for fault in seen.faults if "404" not in fault]


def test_the_documentation_of_the_api_needs_no_internet(window: Opened) -> None:
    page = window().open("/docs")
    page.get_by_text("Submit a job").first.wait_for()


def test_a_job_is_followed_to_its_end_without_a_reload(window: Opened, place: Place) -> None:
    lease = place.world.running(chunks=1)
    page = window().open(f"/jobs/{lease.id}")
    page.locator("#live [role=status]", has_text="Live").wait_for()
    page.evaluate("window.stayed = true")
    page.get_by_text("Spec as JSON").click()
    place.world.coordination.add_log(lease.id, "a new line of the log\n")
    page.locator("#log-lines", has_text="a new line of the log").wait_for()
    place.world.coordination.add_log(lease.id, "".join(f"line {at}\n" for at in range(60)))
    page.locator("#log-lines", has_text="line 59").wait_for()
    assert page.evaluate(AT_ITS_END)
    place.world.coordination.fail(lease, Failure(FailureCode.STALLED, "nothing was said"))
    page.locator("#failure", has_text="nothing was said").wait_for()
    page.locator("#live [role=status]", has_text="Ended").wait_for()
    page.get_by_role("button", name="Retry as it is").wait_for()
    assert page.evaluate("window.stayed")
    assert page.locator("details:has(#spec)").get_attribute("open") is not None
    until(lambda: place.app.state.services.streams._taken.total() == 0)


async def nobody(_: Admission) -> bool:
    """Every stream ends at its next look."""
    return False


def test_a_lost_stream_is_told_and_taken_up_again_and_a_hidden_page_has_none(
    window: Opened, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = place.world.submit()
    seen = window()
    page = seen.open(f"/jobs/{job_id}")
    page.locator("#live [role=status]", has_text="Live").wait_for()
    page.route("**/stream", lambda route: route.abort())
    monkeypatch.setattr(Admission, "holds", nobody)
    page.locator("#live.stale [role=status]", has_text="Reconnecting").wait_for()
    monkeypatch.undo()
    page.unroute("**/stream")
    page.locator("#live:not(.stale) [role=status]", has_text="Live").wait_for()
    seen.faults = [fault for fault in seen.faults if "ERR_FAILED" not in fault and "sse:error" not in fault]
    page.evaluate(VISIBLE.format(hidden="true"))
    until(lambda: place.app.state.services.streams._taken.total() == 0)
    place.world.jobs.change(job_id, priority=61)
    place.world.jobs.pause(job_id)
    page.evaluate(VISIBLE.format(hidden="false"))
    page.locator("#state", has_text="priority 61").wait_for()


def test_a_job_is_cancelled_and_retried_without_scripts(window: Opened, place: Place) -> None:
    job_id = place.world.submit()
    page = window(java_script_enabled=False).open(f"/jobs/{job_id}")
    page.get_by_text("Cancel …").click()
    page.get_by_role("button", name="Cancel this job").click()
    page.locator("#state", has_text="Cancelled").wait_for()
    page.get_by_role("button", name="Retry as it is").click()
    page.locator("#state", has_text="Waiting").wait_for()


def test_the_queue_changes_in_place_and_keeps_what_was_ticked(
    window: Opened, place: Place, jobs: dict[str, UUID]
) -> None:
    kept, gone = place.world.submit(name="kept"), place.world.submit(name="gone")
    page = window().open("/")
    page.locator("#live [role=status]", has_text="Live").wait_for()
    page.evaluate("window.stayed = true")
    page.get_by_role("checkbox", name="Select kept").check()
    place.world.jobs.change(kept, priority=77)
    place.world.jobs.cancel(gone)
    page.locator(f"#job-{kept}", has_text="77").wait_for()
    page.locator(f"#job-{gone}").wait_for(state="detached")
    assert page.get_by_role("checkbox", name="Select kept").is_checked()
    assert page.evaluate("window.stayed")
    until(lambda: len(place.app.state.feeds._feeds) == 1)
    page.get_by_role("button", name="Cancel …").click()
    page.get_by_role("button", name="Cancel 1 job").click()
    page.wait_for_url(f"{place.url}/")
    assert place.world.jobs.view(kept).job.status is JobStatus.CANCELLED
    page.goto("about:blank")
    until(lambda: not place.app.state.feeds._feeds, seconds=30)


def test_keys_go_from_sample_to_sample(window: Opened, jobs: dict[str, UUID]) -> None:
    page = window().open(f"/jobs/{jobs['done']}/samples")
    for key, document in (("j", 1), ("j", 2), ("k", 1)):
        page.keyboard.press(key)
        page.get_by_role("heading", name=f"toy {document}").wait_for()
    page.get_by_label("Task").focus()
    page.keyboard.press("j")
    assert page.get_by_role("heading", name="toy 1").is_visible()


def test_a_pasted_job_is_refused_mended_and_submitted(window: Opened) -> None:
    page = window(java_script_enabled=False).open("/submit")
    box = page.locator("#paste")
    box.fill(PASTED.replace("toy", "none"))
    page.get_by_role("button", name="Read and plan").click()
    page.get_by_text("there is no task none").wait_for()
    assert box.input_value() == PASTED.replace("toy", "none")
    box.fill(PASTED)
    page.get_by_role("button", name="Read and plan").click()
    page.get_by_role("button", name="Submit job").dblclick()
    page.locator("#state", has_text="Waiting").wait_for()


def test_a_failure_card_opens_submit_filled_in(window: Opened, jobs: dict[str, UUID]) -> None:
    page = window().open(f"/jobs/{jobs['failed']}")
    page.get_by_role("link", name="Retry with gpus_per_replica=4").click()
    page.locator("#spec tr", has_text="gpus_per_replica").get_by_text("4", exact=True).wait_for()
    page.get_by_role("button", name="Submit job").click()
    page.locator("#state", has_text="Waiting").wait_for()


def test_the_theme_is_kept_and_a_command_is_copied(window: Opened, jobs: dict[str, UUID]) -> None:
    seen = window(permissions=["clipboard-read", "clipboard-write"])
    page = seen.open(f"/jobs/{jobs['done']}")
    page.get_by_role("button", name="Theme: system").click()
    page.get_by_role("button", name="Theme: light").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.get_by_role("button", name="Copy the command").click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("lm_eval run")
    seen.open("/")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_who_signs_in_goes_on_where_they_were_and_out_again(window: Opened, place: Place) -> None:
    """The last test: from the first key on the service needs one."""
    keys = place.app.state.services.keys
    _, token = keys.create(name="olga", role=Role.OPERATOR, team="red")
    keys._looked_at = float("-inf")
    job_id = place.world.submit()
    seen = window()
    page = seen.open(f"/jobs/{job_id}")
    assert page.url.endswith(f"/sign-in?next=/jobs/{job_id}")
    assert seen.violations() == []
    page.get_by_label("Key").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.locator("#live [role=status]", has_text="Live").wait_for()
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Pause").click()
    page.locator("#state", has_text="Paused").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Key").wait_for()
    seen.open("/")
    assert "/sign-in" in page.url
