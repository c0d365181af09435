from __future__ import annotations

import signal

import pytest

from app.domain.deaths import TRIES, Death, Deaths, Verdict, ended
from app.domain.job import MAX_LOSSES

EXIT_3, KILLED, CRASHED = 3 << 8, int(signal.SIGKILL), int(signal.SIGSEGV)


def verdicts(*deaths: Death) -> list[str]:
    told, counted = [], Deaths()
    for death in deaths:
        counted, verdict = counted.after(death)
        told.append(verdict.name)
    return told


AGAIN, WITHOUT, GIVE_UP = (verdict.name for verdict in Verdict)


def test_a_child_that_dies_at_once_again_and_again_fails_its_job_soon() -> None:
    assert verdicts(*[Death("died", status=KILLED)] * TRIES) == [*[AGAIN] * (TRIES - 1), GIVE_UP]


def test_a_death_after_an_answer_begins_the_count_anew() -> None:
    deaths = [Death("died", answered=True), Death("died"), Death("died", answered=True), Death("died")] * 50
    assert set(verdicts(*deaths)) == {AGAIN}


def test_the_death_of_the_shared_server_counts_against_no_job() -> None:
    server, own = Death("died", shared=True), Death("died")
    assert verdicts(own, server, server, server, own, server) == [AGAIN] * 6
    assert set(verdicts(*[Death("died", shared=True, answered=True)] * 100)) == {AGAIN}


def test_a_job_under_which_every_server_dies_is_suspected() -> None:
    assert verdicts(*[Death("died", shared=True)] * MAX_LOSSES)[-1] == GIVE_UP
    assert verdicts(*[Death("died", "toy", shared=True)] * MAX_LOSSES) == [*[AGAIN] * 9, WITHOUT]


@pytest.mark.parametrize("status", [0, EXIT_3, CRASHED])
def test_a_task_that_ends_the_child_itself_is_given_up_at_once(status: int) -> None:
    assert verdicts(Death("died", "toy", status)) == [WITHOUT]
    assert verdicts(Death("died", None, status)) == [AGAIN]


def test_a_task_that_passes_its_bounds_is_given_up_at_once_and_soon_its_job() -> None:
    outgrew = [Death("held too much", f"task-{i}", KILLED, answered=True, outgrew=True) for i in range(TRIES)]
    assert verdicts(*outgrew) == [*[WITHOUT] * (TRIES - 1), GIVE_UP]
    assert verdicts(Death("held too much", None, KILLED, outgrew=True)) == [GIVE_UP]


def test_passing_the_bounds_is_want_of_memory() -> None:
    whole, part = (
        Death("the child held 9 GiB", task, KILLED, outgrew=True).failure for task in (None, "toy")
    )
    assert (whole.code, whole.task, whole.message) == ("host_out_of_memory", None, "the child held 9 GiB")
    assert (part.code, part.task) == ("host_out_of_memory", "toy")
    assert "EVALQ_HARNESS_MEMORY_SHARE" in (whole.hint or "")


def test_a_task_at_which_children_are_killed_is_given_up_whatever_was_answered() -> None:
    killed = Death("died", "toy", KILLED, answered=True)
    assert verdicts(*[killed] * TRIES) == [AGAIN, AGAIN, WITHOUT]
    assert verdicts(killed, killed, Death("died", "other", KILLED)) == [AGAIN] * 3


def test_the_task_that_ends_a_row_of_deaths_is_given_up_and_the_row_begins_anew() -> None:
    deaths = [Death("died", name, KILLED) for name in "abc"]
    assert verdicts(*deaths, *deaths) == [AGAIN, AGAIN, WITHOUT] * 2


def test_a_death_is_told_in_words() -> None:
    assert ended(EXIT_3) == "the harness child ended with exit status 3"
    assert ended(KILLED) == "the harness child was ended by SIGKILL"
    assert ended(64) == "the harness child was ended by SIGRTMAX"
    assert ended(40) == "the harness child was ended by signal 40"
    failure = Death(ended(CRASHED), "toy", CRASHED).failure
    assert (failure.code, failure.task) == ("task_error", "toy")
    assert failure.message == "the harness child was ended by SIGSEGV while it worked on this task"
    assert Death("died").failure.code == "internal"
