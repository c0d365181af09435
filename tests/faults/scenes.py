"""What has to happen for a part to reach a fail point: a scene arms the point when all is ready for it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import psycopg

from app.domain.keys import new_token
from tests.client import TERMINAL
from tests.faults.failpoints import PLAYERS
from tests.faults.stage import SCENE_SECONDS, Stage
from tests.waiting import until


def ordinary(stage: Stage) -> None:
    """Jobs that succeed."""
    stage.arm()
    for name in ("choice", "generate"):
        stage.post(name)


def placing(stage: Stage) -> None:
    """Jobs that find no engine."""
    query = "SELECT 1 FROM replicas WHERE ended_at IS NULL"
    until(lambda: stage.seen(query) is None, SCENE_SECONDS)
    ordinary(stage)


def foretelling(stage: Stage) -> None:
    """Somebody asks when jobs begin that find no engine."""
    placing(stage)
    until(lambda: stage.asked_when() and not stage.armed, SCENE_SECONDS)


def posting(name: str) -> Callable[[Stage], None]:
    """A job of a kind."""

    def scene(stage: Stage) -> None:
        stage.arm()
        stage.post(name)

    return scene


def cancelling(stage: Stage) -> None:
    """A running job is cancelled."""
    stage.arm()
    stage.ask(stage.evaluating(), "cancel")


def pausing(stage: Stage) -> None:
    """A running job is paused, and goes on."""
    stage.arm()
    job = stage.evaluating()
    stage.ask(job, "pause")
    stage.becomes(job, {"paused"})
    stage.ask(job, "resume")


def retrying(stage: Stage) -> None:
    """A job that failed in part is tried again."""
    job = stage.post("poisoned")
    stage.becomes(job, TERMINAL)
    stage.arm()
    stage.ask(job, "retry")


def deleting(stage: Stage) -> None:
    """An ended job is deleted."""
    job = stage.post("generate")
    stage.becomes(job, TERMINAL)
    stage.arm()
    stage.forget(job)


def draining(stage: Stage) -> None:
    """A group is drained for a moment."""
    stage.arm()
    stage.drain("b")


def noting_a_key(stage: Stage) -> None:
    """A key is used that was not used for long."""
    stage.seen("UPDATE api_keys SET last_used_at = NULL RETURNING name")
    stage.arm()
    stage.post("generate")


def bringing_a_key(stage: Stage) -> None:
    """The API is given its first key by its settings."""
    stage.arm(EVALQ_BOOTSTRAP_KEY=new_token())
    stage.post("generate")


def losing_an_engine(stage: Stage) -> None:
    """One of two engines of a job is killed."""
    stage.arm()
    stage.evaluating()
    stage.kill_child("engine", of=2)


def losing_a_harness(stage: Stage) -> None:
    """The harness child of a job is killed."""
    stage.arm()
    stage.evaluating()
    stage.kill_child("harness")


def coming_back(stage: Stage) -> None:
    """A part is killed while it works; it dies again as it cleans up after itself, before its leases end."""
    stage.evaluating()
    stage.signal(signal.SIGSTOP, *PLAYERS["scheduler"])
    stage.arm()


def taking_a_spare(stage: Stage) -> None:
    """A worker has a spare when a job comes."""
    stage.arm(EVALQ_SPARE_ENGINES="1", EVALQ_IDLE_SECONDS="600")
    stage.await_child("spare")
    stage.post("generate")


def leaving(stage: Stage) -> None:
    """A part is told to stop while it works."""
    stage.arm()
    stage.evaluating()
    stage.signal(signal.SIGTERM)


def lapsing(stage: Stage) -> None:
    """Everyone who holds a lease freezes for longer than it lasts."""
    stage.evaluating()
    stage.arm()
    stage.signal(signal.SIGSTOP, *PLAYERS["coordinator"], *PLAYERS["worker"])


def parking(stage: Stage) -> None:
    """Jobs wait for engines and others for their places, until engines come."""
    stage.arm()
    with _parked_jobs(stage):
        pass


def adopting(stage: Stage) -> None:
    """A part is killed that kept parked jobs; it dies again as it keeps them anew, or gives them back."""
    with _parked_jobs(stage):
        stage.arm()


def letting_go(stage: Stage) -> None:
    """A part is told to stop that keeps parked jobs: they were parked by one before it."""
    holder = "SELECT lease_holder FROM jobs WHERE parked_at IS NOT NULL AND lease_holder IS NOT NULL"
    with _parked_jobs(stage):
        before = stage.seen(holder)
        stage.arm()
        until(lambda: stage.seen(holder) not in {None, before}, SCENE_SECONDS)
        stage.signal(signal.SIGTERM)


@contextmanager
def _parked_jobs(stage: Stage) -> Iterator[None]:
    stage.order_groups("drain")
    try:
        for name in ("choice", "generate", "choice", "generate", "choice"):
            stage.post(name)
        until(lambda: stage.seen("SELECT 1 FROM jobs WHERE parked_at IS NOT NULL"), 2 * SCENE_SECONDS)
        yield
    finally:
        stage.order_groups("resume")


def tidying(stage: Stage) -> None:
    """A job is cancelled while chunks of it are being answered."""
    job = stage.evaluating()
    stage.ask(job, "cancel")
    stage.becomes(job, {"cancelled"})
    stage.arm()


def sweeping(stage: Stage) -> None:
    """Answers are older than they are kept."""
    stage.becomes(stage.post("generate"), TERMINAL)
    stage.arm(EVALQ_KEEP_RESPONSES_DAYS="0.000001")


def losing_a_claim(stage: Stage) -> None:
    """The database fails as chunks are claimed."""
    stage.arm()
    stage.evaluating()
    while stage.armed:
        try:
            stage.cut_off_claims()
        except (AssertionError, psycopg.OperationalError):
            continue


SCENES: Mapping[str, Callable[[Stage], None]] = {
    "jobs._swap_once": cancelling,
    "jobs.retry": retrying,
    "jobs._delete_once": deleting,
    "keys._look_up": noting_a_key,
    "keys.keep": bringing_a_key,
    "groups.drain": draining,
    "groups.resume": draining,
    "estimates._note": foretelling,
    "groups.leave": leaving,
    "scheduling.settle_once": foretelling,
    "scheduling.line_up_once": placing,
    "scheduling.place_once": placing,
    "scheduling.announce_once": placing,
    "scheduling.expire_once": lapsing,
    "scheduling.tidy_once": tidying,
    "retention._do": sweeping,
    "coordination.explain": losing_an_engine,
    "coordination.warn": losing_a_harness,
    "coordination.store_chunks": posting("long"),
    "coordination.withdraw": posting("refused"),
    "coordination.task_failed": posting("lost"),
    "coordination.fail": posting("doomed"),
    "coordination.stop": cancelling,
    "coordination.pause": pausing,
    "remedies.take": posting("wide"),
    "parking.park": parking,
    "parking.adopt": adopting,
    "parking.renew_all": parking,
    "parking.count_answered": adopting,
    "parking.give_back": adopting,
    "parking.let_go": letting_go,
    "coordination.release_holders": coming_back,
    "serving.take_spare": taking_a_spare,
    "serving.advance": posting("slow"),
    "serving.chunk_failed": posting("poisoned"),
    "serving.keep_only": losing_a_claim,
    "serving.wanted": pausing,
    "serving.warn": posting("warned"),
    "serving.release_holders": coming_back,
}
"""Scenes of methods that an ordinary job does not reach."""
