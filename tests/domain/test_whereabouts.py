"""What a planned job waits for, told by what engines there are."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.domain.headway import Headway
from app.domain.ids import uuid7
from app.domain.job import Job, JobStatus, Phase
from app.domain.replica import Replica, ReplicaStatus
from app.domain.whereabouts import Engines, where
from tests.domain.test_job import job
from tests.world import ENGINE

ANYWHERE = job(JobStatus.RUNNING)
IN_B = replace(ANYWHERE, plan=replace(ANYWHERE.plan, group="b"))
WIDE = replace(ANYWHERE, engine=replace(ENGINE, gpus=2))


def replica(status: ReplicaStatus) -> Replica:
    return Replica(uuid7(), "a", ENGINE, status, ("a-0",), datetime(2026, 11, 22, 8, 0, 5, tzinfo=UTC))


LOADING, SERVING, OTHER = (
    replica(status) for status in (ReplicaStatus.LOADING, ReplicaStatus.SERVING, ReplicaStatus.SERVING)
)


@pytest.mark.parametrize(
    ("engines", "asked", "phase", "reason"),
    [
        (Engines(), ANYWHERE, Phase.WAITING_FOR_GPU, "waiting for 1 free device in one group"),
        (Engines(), WIDE, Phase.WAITING_FOR_GPU, "waiting for 2 free devices in one group"),
        (Engines(), IN_B, Phase.WAITING_FOR_GPU, "waiting for 1 free device in group b"),
        (Engines(draining=True), IN_B, Phase.WAITING_FOR_GPU, "waiting for group b, which is draining"),
        (
            Engines([LOADING]),
            ANYWHERE,
            Phase.LOADING,
            "waiting for its engine to load in group a, since 2026-11-22 08:00:05 UTC",
        ),
        (
            Engines([LOADING, SERVING]),
            ANYWHERE,
            Phase.EVALUATING,
            "waiting for its turn on 1 replica in group a shared with other jobs",
        ),
        (
            Engines([SERVING], {SERVING.id: Headway()}),
            ANYWHERE,
            Phase.EVALUATING,
            "evaluating on 1 replica",
        ),
        (
            Engines([SERVING, OTHER], {SERVING.id: Headway(1, 5.0), OTHER.id: Headway()}),
            ANYWHERE,
            Phase.EVALUATING,
            "evaluating on 2 replicas",
        ),
    ],
)
def test_a_job_is_where_its_engines_are(engines: Engines, asked: Job, phase: Phase, reason: str) -> None:
    assert where(engines, asked) == (phase, reason)
