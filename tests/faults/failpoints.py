"""The named fail points: before and after each commit of the services that changes something, by part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

from tests.faults.cluster import GROUPS

PLAYERS: Mapping[str, Sequence[str]] = {
    "api": ("api",),
    "scheduler": ("scheduler-1", "scheduler-2"),
    "coordinator": ("coordinator",),
    "worker": tuple(f"worker-{group}" for group in GROUPS),
}
"""Who plays a role: parts that run the same program."""

FAILPOINTS: Mapping[str, Sequence[str]] = {
    "api": (
        *("jobs._reserved", "jobs._submit", "jobs._swap_once", "jobs.retry", "jobs._delete_once"),
        *("keys._look_up", "keys.keep", "groups.drain", "groups.resume", "estimates._note"),
    ),
    "scheduler": (
        *(
            "scheduling.book_once",
            "scheduling.settle_once",
            "scheduling.line_up_once",
            "scheduling.place_once",
            "scheduling.announce_once",
            "scheduling.expire_once",
        ),
        *("scheduling.tidy_once", "retention._do"),
    ),
    "coordinator": (
        "remedies.take",
        *(
            f"parking.{method}"
            for method in ("park", "adopt", "renew_all", "count_answered", "give_back", "let_go")
        ),
        *(
            f"coordination.{method}"
            for method in (
                *(
                    "claim",
                    "renew",
                    "enter",
                    "explain",
                    "prepared",
                    "pending_keys",
                    "lookup",
                    "store_chunks",
                    "store_plan",
                ),
                *(
                    "withdraw",
                    "collect",
                    "progress",
                    "warn",
                    "task_finished",
                    "task_failed",
                    "add_samples",
                    "add_log",
                ),
                *("finish", "fail", "stop", "pause", "release_holders"),
            )
        ),
    ),
    "worker": (
        *(f"serving.{method}" for method in ("claim", "renew", "loaded", "next", "advance", "answer")),
        "serving.take_spare",
        *(f"serving.{method}" for method in ("chunk_failed", "keep_only", "wanted", "warn", "add_log")),
        *(f"serving.{method}" for method in ("end", "release_holders")),
        *("groups.register", "groups.beat", "groups.leave", "groups.mark_device"),
    ),
}
"""Where the parts of a role are killed: before and after the commits of each of these methods."""

TWICE = frozenset({"scheduling.expire_once", "serving.loaded", "serving.end"})
"""Methods of two transactions."""

EMPTY_TOO = frozenset(
    {"jobs._reserved", "coordination.pending_keys", "coordination.lookup", "serving.keep_only"}
)
"""Methods whose commits count though they may change nothing: what they are part of does."""

READS = frozenset(
    {
        *("coordination.held", "coordination.order", "coordination.engines", "remedies.troubles"),
        *("binding.groups", "waiting.capacity", "waiting.jobs", "waiting.job", "waiting.recall"),
        *("binding.recall", "parking.wants_room", "parking.stirs", "parking.failures", "parking.adopted"),
        *("coordination.engine_facts", "coordination.pending_cost"),
        *("coordination.holders", "serving.holders", "serving.is_over", "groups.all", "queue.page"),
        *("serving.traces", "estimates._seen", "usage.report", "overview.occupied", "overview.counts"),
        *("overview.ended", "overview.some", "overview.is_empty", "queue.going_on"),
        *("jobs.known", "jobs.check_seen", "jobs.view", "jobs.page", "jobs.events", "jobs.news"),
        *("jobs.moves", "watching.looks"),
        *("events.position", "events.page", "scheduling.at_rest"),
        *(
            "metrics.read",
            "keys.all",
            "keys.hash_of",
            "keys.needed",
            "results.document",
            "results.samples",
            "results.artifacts",
        ),
        *("results.artifact", "results.bundle", "results.logs", "results.last_logs", "results.found_lines"),
        *("results._count", "retention._long_logs", "estimates.would"),
        *("submission._look", "submission._recall", "jobs.view_of_new"),
    }
)
"""Methods that change nothing: to die there is to die between two of the others."""

ELSEWHERE = frozenset(
    {
        *("keys.create", "keys.revoke", "binding.rebind", "waiting.plan_again", "waiting.wait_again"),
        "coordination.settle_engine",
    }
)
"""Methods that no part runs: operators' commands, and what no engine of a campaign needs."""


@dataclass(frozen=True)
class Point:
    """One moment at which a part kills itself."""

    role: str
    part: str
    when: str
    method: str
    number: int
    """At which of the method's commits that change something."""

    @property
    def spec(self) -> str:
        """As tests/faults/hooks/sitecustomize.py reads it."""
        counted = "any" if self.method in EMPTY_TOO else "changed"
        return f"{self.when}:{self.method}:{self.number}:{counted}"

    def __str__(self) -> str:
        return f"{self.part} {self.when}:{self.method}" + (f":{self.number}" if self.number > 1 else "")


def walk_points(roles: Sequence[str] = ()) -> Iterator[Point]:
    """Every fail point of the roles (all, where none is named) once; the parts of a role take turns."""
    for role, methods in FAILPOINTS.items():
        parts = cycle(PLAYERS[role])
        for method in methods if role in roles or not roles else ():
            for number in (1, 2) if method in TWICE else (1,):
                for when in ("before", "after"):
                    yield Point(role, next(parts), when, method, number)


def all_points() -> list[tuple[str, str, str]]:
    """Every part's fail points: before and after each commit."""
    return [
        (part, when, method)
        for role, methods in FAILPOINTS.items()
        for part in PLAYERS[role]
        for method in methods
        for when in ("before", "after")
    ]
