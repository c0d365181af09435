from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from app.cli import live
from app.cli.describe import changes, duration, progress_line, score, when
from app.cli.job_table import age
from app.client.exit_codes import Exit, worst
from tests.cli.fake_api import job

TASK = {"name": "gsm8k", "status": "succeeded", "done": 100, "total": 100, "error": None}
METRICS = {"alias": "gsm8k", "exact_match,strict": 0.5, "exact_match_stderr,strict": 0.01234}


@pytest.mark.parametrize(("seconds", "text"), [(None, ""), (0, "0:00"), (71, "1:11"), (3723.4, "1:02:03")])
def test_a_duration_is_short(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("hour", "text"), [(0, "30s"), (1, "1h"), (23, "23h")])
def test_an_age_is_in_one_unit(hour: int, text: str) -> None:
    now = datetime(2026, 11, 22, hour, 0, 30, tzinfo=UTC)
    assert age("2026-11-22T00:00:00+00:00", now) == text


def test_a_progress_line_has_percent_rate_and_time_left() -> None:
    assert progress_line(job(1, "running")) == "evaluating  22 %  22/100 requests  61.2/s  1:11 left"


def test_a_job_of_long_requests_has_a_rate_before_one_is_answered() -> None:
    progress = {"requests_per_second": None, "tokens_per_second": 17.6, "done": 0, "percent": 0.0}
    begun = job(1, "running", progress=job(1, "running")["progress"] | progress)
    assert progress_line(begun) == "evaluating  0 %  0/100 requests  18 tokens/s  1:11 left"


def test_a_slow_job_is_told_by_the_minute() -> None:
    slow = job(1, "running")["progress"] | {"requests_per_second": 0.03}
    assert "  1.8/min  " in progress_line(job(1, "running", progress=slow))


ESTIMATE = {
    "start_low_seconds": 40.0,
    "start_seconds": 61.0,
    "start_high_seconds": None,
    "end_low_seconds": 100.0,
    "end_seconds": 200.0,
    "end_high_seconds": 400.0,
}


def test_a_job_that_waits_says_for_what_and_for_how_long() -> None:
    why = "waiting for 1 free device in one group"
    waits = job(1, "running", phase="waiting_for_gpu", reason=why, estimate=ESTIMATE)
    told = f"waiting for gpu  22 %  22/100 requests  {why}  starts in 1:01 (0:40 to ?)"
    assert progress_line(waits) == f"{told}, ends in 3:20 (1:40 to 6:40)"
    assert when(waits | {"phase": "evaluating"}) == "ends in 3:20 (1:40 to 6:40)"
    assert when(waits | {"estimate": None}) == ""


def test_a_first_estimate_is_worth_a_line() -> None:
    now = job(1, "running")
    before = now | {"progress": now["progress"] | {"eta_seconds": None}}
    assert len(changes(before, now)) == 1
    assert changes(now, before) == []


def test_an_engine_that_died_is_worth_one_line_whatever_falls_with_it() -> None:
    now, died = job(1, "running"), {"id": "1", "group": "node", "status": "failed"}
    later = now | {"replicas": [died | {"error": {"message": "the engine died of signal 9"}}]}
    assert changes(now, later) == ["replica on node failed: the engine died of signal 9"]
    assert changes(later, later) == []
    assert changes(now, now | {"replicas": [died | {"status": "released"}]}) == []


def test_a_job_without_prompts_yet_says_why_it_waits() -> None:
    waiting = job(1, "queued", reason="2 jobs ahead", progress={"done": 0, "total": None})
    assert progress_line(waiting) == "queued: 2 jobs ahead"


def test_a_small_step_is_not_worth_a_line() -> None:
    now = job(1, "running")
    later = job(1, "running", progress=now["progress"] | {"percent": 24.0})
    further = job(1, "running", progress=now["progress"] | {"percent": 25.0})
    assert changes(now, later) == []
    assert len(changes(now, further)) == 1


def test_a_finished_task_is_worth_a_line_with_its_score() -> None:
    done = job(1, "running", tasks=[TASK | {"metrics": METRICS}])
    assert changes(job(1, "running"), done) == ["gsm8k: exact_match 0.5000 ± 0.0123"]


def test_a_failed_task_is_worth_a_line_with_its_error() -> None:
    failed = TASK | {"status": "failed", "metrics": None, "error": {"message": "no such dataset"}}
    assert changes(job(1, "running"), job(1, "running", tasks=[failed])) == ["gsm8k: failed: no such dataset"]


def test_a_task_without_metrics_has_no_score() -> None:
    assert score(TASK | {"metrics": None}) == ""


def test_the_worst_of_several_exits_counts() -> None:
    assert worst([Exit.OK, Exit.NOT_FINISHED, Exit.JOB_FAILED]) is Exit.JOB_FAILED
    assert worst([]) is Exit.OK


def test_the_bar_shows_the_job_and_its_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr("rich.console.Console", lambda **_: terminal)
    with live.Bar() as bar:
        bar.show(job(1, "running"))
        bar.show(job(1, "running", tasks=[TASK | {"metrics": METRICS}]))
    assert "22 % 61.2/s 1:11 left" in screen.getvalue()
    assert "exact_match 0.5000 ± 0.0123" in screen.getvalue()
