"""The named fail points: before and after each commit of the services, by part."""

from __future__ import annotations

from tests.faults.cluster import GROUPS

FAILPOINTS = {
    "api": ["jobs._submit", "jobs._reserved"],
    "scheduler-1": ["scheduling.place_once", "scheduling.announce_once", "scheduling.expire_once"],
    "scheduler-2": ["scheduling.place_once", "scheduling.announce_once", "scheduling.expire_once"],
    "coordinator": [
        f"coordination.{method}"
        for method in (
            *("claim", "renew", "enter", "prepared", "pending_keys", "lookup", "store_plan", "collect"),
            *("progress", "task_finished", "add_samples", "finish", "stop", "release_holders"),
        )
    ],
    **{
        f"worker-{group}": [
            *(f"serving.{method}" for method in ("claim", "renew", "loaded", "next", "answer", "end")),
            *("serving.chunk_failed", "serving.release_holders", "groups.register", "groups.beat"),
        ]
        for group in GROUPS
    },
}
"""Where a part is killed: before and after the commit of each of these methods."""


def all_points() -> list[tuple[str, str, str]]:
    """Every part's fail points: before and after each commit."""
    return [
        (part, when, method)
        for part, methods in FAILPOINTS.items()
        for method in methods
        for when in ("before", "after")
    ]
