"""States in icon and word, for every page alike."""

from __future__ import annotations

from app.domain.replica import Replica, ReplicaStatus

_REPLICAS = {
    ReplicaStatus.PLACED: ("queued", "Starting"),
    ReplicaStatus.LOADING: ("loading", "Loading"),
    ReplicaStatus.SERVING: ("running", "Serving"),
    ReplicaStatus.RELEASED: ("paused", "Released"),
    ReplicaStatus.FAILED: ("failed", "Failed"),
    ReplicaStatus.LOST: ("failed", "Lost"),
}


def replica_state(replica: Replica) -> tuple[str, str]:
    """Of an engine; one that serves and has nothing to do is warm."""
    if replica.status is ReplicaStatus.SERVING and replica.idle_since is not None:
        return "paused", "Warm"
    return _REPLICAS[replica.status]
