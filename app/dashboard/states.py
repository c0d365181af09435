"""States in icon and word, for every page alike."""

from __future__ import annotations

from app.domain.failure import FailureCode
from app.domain.replica import Replica, ReplicaStatus

_REPLICAS = {
    ReplicaStatus.PLACED: ("queued", "Starting"),
    ReplicaStatus.LOADING: ("loading", "Loading"),
    ReplicaStatus.SERVING: ("running", "Serving"),
    ReplicaStatus.RELEASED: ("paused", "Released"),
    ReplicaStatus.FAILED: ("failed", "Failed"),
    ReplicaStatus.LOST: ("failed", "Lost"),
}


_WRITTEN_OTHERWISE = {"gpu": "GPU", "kv": "KV", "nccl": "NCCL"}


def failure_words(code: FailureCode) -> str:
    """What a code means, as a heading."""
    first, *others = (_WRITTEN_OTHERWISE.get(word, word) for word in code.split("_"))
    return " ".join([first[0].upper() + first[1:], *others])


def replica_state(replica: Replica) -> tuple[str, str]:
    """Of an engine; one that serves and has nothing to do is warm."""
    if replica.status is ReplicaStatus.SERVING and replica.idle_since is not None:
        return "paused", "Warm"
    return _REPLICAS[replica.status]
