"""What must hold when everything has come to rest, read from the tables and from what the clients remember."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from tests.client import TERMINAL, falls
from tests.faults.clients import History, Posted
from tests.faults.cluster import Cluster, environment, kind_of, owner_of
from tests.faults.servers import Database
from tests.waiting import until
from workers.supervision.identity import dead_holders

Rows = list[dict[str, Any]]
CLEAN_SECONDS = 10.0
END = {f"job.{status}" for status in TERMINAL}

CHECKS: Mapping[str, str] = {
    "jobs": "every accepted job ended once, in the status of an undisturbed run or as its client asked",
    "tasks": "no task of an ended job is waiting or running, and none failed without a reason",
    "strangers": "no job that nobody posted, none doubled",
    "events": "events numbered 1, 2, 3..., one terminal event (one more for each retry), last",
    "progress": "less is told to be done only after the engine that died was named",
    "results": "result documents and sample lines equal to an undisturbed run's",
    "leases": "no lease, claimed chunk or chunk of an ended job is left",
    "devices": "every device free or drained with a reason, no replica without its devices",
    "processes": "no process of a dead replica, no spare of a dead worker, no harness child without a job",
    "gpu_seconds": "no job was charged more engine time than its replicas lived",
    "usage": "the device seconds that are charged are those of the leases, of every model",
}


@dataclass(frozen=True)
class Outcome:
    """What an undisturbed run of a variant ended as."""

    status: str
    document: Mapping[str, Any]
    samples: Mapping[str, list[str]]


SCORED = (
    "results",
    "groups",
    "group_subtasks",
    "configs",
    "versions",
    "n-shot",
    "higher_is_better",
    "n-samples",
)
"""Of lm-eval's document what does not differ from run to run."""


def outcome(database: Database, job_id: str) -> Outcome:
    """What a job ended as; what differs from run to run by itself is left out."""
    (job,) = _rows(database, "SELECT status, results FROM jobs WHERE id = %s", job_id)
    document = json.loads(job["results"] or "{}")
    query = "SELECT task, row FROM samples WHERE job_id = %s ORDER BY task, position"
    samples = _rows(database, query, job_id)
    return Outcome(
        job["status"],
        {part: document.get(part) for part in SCORED},
        {
            task: [_without_words(row["row"]) for row in rows]
            for task, rows in groupby(samples, key=lambda row: str(row["task"]))
        },
    )


def _without_words(row: str) -> str:
    """A sample as it is, but for the words on a failure: an engine's end is told by who notices it first."""
    sample = json.loads(row)
    if "evalq_error" not in sample:
        return row
    return json.dumps(sample | {"evalq_error": sample["evalq_error"]["code"]})


class Checker:
    """Yields one line for everything that is not as promised."""

    def __init__(
        self, cluster: Cluster, database: Database, history: History, undisturbed: Mapping[str, Outcome]
    ) -> None:
        self._cluster = cluster
        self._database = database
        self._history = history
        self._undisturbed = undisturbed
        self._posted = {job.id: job for job in history.posted}
        self._jobs = {str(row["id"]): row for row in self._all("SELECT * FROM jobs")}

    def violations(self) -> list[str]:
        """Everything that does not hold."""
        checks: list[Callable[[], Iterator[str]]] = [getattr(self, f"_check_{name}") for name in CHECKS]
        return [*self._history.faults, *(words for check in checks for words in check())]

    def _check_jobs(self) -> Iterator[str]:
        for job in self._history.posted:
            row = self._jobs.get(job.id)
            if row is None:
                yield f"accepted job {job.id} is lost"
            elif row["status"] not in self._allowed(job):
                yield f"job {job.id} ({job.variant}) is {row['status']}: {row['reason']}: {row['error']}"

    def _allowed(self, job: Posted) -> set[str]:
        cancelled = {"cancelled"} if "cancel" in job.asked else set()
        return cancelled | {self._undisturbed[job.variant].status}

    def _check_tasks(self) -> Iterator[str]:
        query = """SELECT t.job_id, t.name, t.status FROM job_tasks t JOIN jobs j ON j.id = t.job_id
            WHERE j.ended_at IS NOT NULL AND (t.status IN ('waiting', 'running')
              OR (t.status = 'failed' AND t.error IS NULL))"""
        for row in self._all(query):
            yield f"task {row['name']} of ended job {row['job_id']} is {row['status']} without a reason"

    def _check_strangers(self) -> Iterator[str]:
        keys = {job.key for job in self._history.posted}
        for job_id, row in self._jobs.items():
            if row["idempotency_key"] not in keys:
                yield f"job {job_id} ({row['name']}) was never accepted by a client that asked for it"
        if len(self._posted) != len(self._history.posted):
            yield "one job was given to two posts"

    def _check_events(self) -> Iterator[str]:
        query = "SELECT job_id, number, type FROM job_events ORDER BY job_id, number"
        for job_id, rows in groupby(self._all(query), key=lambda row: str(row["job_id"])):
            events = list(rows)
            if [event["number"] for event in events] != list(range(1, len(events) + 1)):
                yield f"events of {job_id} have gaps: {[event['number'] for event in events]}"
            types = [event["type"] for event in events]
            ends = [kind for kind in types if kind in END]
            if len(ends) != 1 + self._retries(job_id, types) or types[-1] not in END:
                yield f"events of {job_id} end with {types[-3:]}, ends {ends}"

    def _check_progress(self) -> Iterator[str]:
        query = "SELECT job_id, type, data FROM job_events ORDER BY job_id, number"
        for job_id, rows in groupby(self._all(query), key=lambda row: str(row["job_id"])):
            if None in falls(rows):
                yield f"progress of {job_id} falls though no engine is named"

    def _retries(self, job_id: str, types: list[str]) -> int:
        """How often the job was retried by its client: an end that is followed by a new beginning."""
        job = self._posted.get(job_id)
        pairs = pairwise(types) if job and "retry" in job.asked else ()
        return sum(before in END and after == "job.queued" for before, after in pairs)

    def _check_results(self) -> Iterator[str]:
        for job in self._history.posted:
            row = self._jobs.get(job.id)
            if row is None or row["status"] in {"cancelled", "failed"}:
                continue
            expected = self._undisturbed[job.variant]
            if outcome(self._database, job.id) != expected:
                yield f"job {job.id} ({job.variant}) has another result than an undisturbed run"

    def _check_leases(self) -> Iterator[str]:
        for row in self._all("SELECT id FROM jobs WHERE lease_token IS NOT NULL"):
            yield f"job {row['id']} is still leased"
        query = "SELECT c.id, c.status, j.status AS job FROM chunks c JOIN jobs j ON j.id = c.job_id"
        for row in self._all(query):
            yield f"chunk {row['id']} is left {row['status']} of a job that is {row['job']}"

    def _check_devices(self) -> Iterator[str]:
        dirty = self._dirty()
        with suppress(AssertionError):  # an idle replica may end at any time
            until(lambda: not dirty & self._dirty(), CLEAN_SECONDS)
        for device in dirty & self._dirty():
            yield f"device {device} stays dirty"
        for row in self._all("SELECT id, state, reason FROM devices"):
            known = {"free", "held", "dirty"} | ({"drained"} if row["reason"] else set())
            if row["state"] not in known:
                yield f"device {row['id']} is {row['state']} ({row['reason']})"
        query = """SELECT id, devices FROM replicas r WHERE status IN ('placed', 'loading', 'serving')
            AND cardinality(devices) <> (SELECT count(*) FROM devices d WHERE d.replica_id = r.id)"""
        for row in self._all(query):
            yield f"replica {row['id']} lives without all of its devices {row['devices']}"

    def _dirty(self) -> set[str]:
        return {str(row["id"]) for row in self._all("SELECT id FROM devices WHERE state = 'dirty'")}

    def _check_processes(self) -> Iterator[str]:
        query = "SELECT coalesce(spare_id, id) AS owner FROM replicas WHERE ended_at IS NULL"
        live = {str(row["owner"]) for row in self._all(query)}
        ended = {str(row["spare_id"]) for row in self._all("SELECT spare_id FROM replicas")} - live
        for process in self._cluster.processes().values():
            mark = environment(process)
            owner = owner_of(process)
            waits = "EVALQ_SPARE" in mark and owner not in ended
            if owner and owner not in live and not waits:
                yield f"process {process.pid} of replica {owner} outlives it"
            if waits and dead_holders([mark["EVALQ_SPARE"].partition("|")[2]]):
                yield f"spare {process.pid} outlives its worker"
            if kind_of(process) == "harness":
                yield f"harness child {process.pid} has no job"

    def _check_gpu_seconds(self) -> Iterator[str]:
        query = """SELECT j.id, j.gpu_seconds, sum(extract(epoch FROM
              least(coalesce(r.ended_at, now()), j.ended_at) - greatest(r.claimed_at, j.started_at))) AS lived
            FROM jobs j LEFT JOIN replicas r ON r.engine_key = j.engine_key AND r.claimed_at < j.ended_at
              AND coalesce(r.ended_at, now()) > j.started_at GROUP BY j.id"""
        for row in self._all(query):
            if not 0 <= row["gpu_seconds"] <= float(row["lived"] or 0) + 1:
                yield f"job {row['id']} was charged {row['gpu_seconds']} s, its replicas lived {row['lived']}"

    def _check_usage(self) -> Iterator[str]:
        query = """WITH charged AS (
              SELECT model, sum(seconds) AS seconds, min(seconds) AS least FROM (
                SELECT model, seconds FROM usage UNION ALL SELECT model, seconds FROM charges) AS both_of_them
              GROUP BY model),
            lived AS (
              SELECT engine->>'model' AS model, sum(cardinality(devices)
                * extract(epoch FROM coalesce(ended_at, accounted_at) - claimed_at)) AS seconds
              FROM replicas WHERE claimed_at IS NOT NULL GROUP BY 1)
            SELECT model, charged.seconds AS charged, lived.seconds::float AS lived, least
            FROM charged FULL JOIN lived USING (model)"""
        for row in self._all(query):
            if abs((row["charged"] or 0) - (row["lived"] or 0)) > 1 or (row["least"] or 0) < 0:
                yield f"replicas of {row['model']} lived {row['lived']} s, and are charged {row['charged']} s"

    def _all(self, query: str) -> Rows:
        return _rows(self._database, query)


def unfinished(database: Database) -> list[str]:
    """Jobs that are not terminal, and devices that are on their way: nothing is at rest while there are any."""
    query = """SELECT id::text || ' ' || status || ' ' || coalesce(reason, '') AS what FROM jobs WHERE ended_at IS NULL
        UNION ALL SELECT id || ' ' || state FROM devices WHERE state = 'dirty'
        UNION ALL SELECT 'chunk ' || c.id FROM chunks c JOIN jobs j ON j.id = c.job_id WHERE j.ended_at IS NOT NULL"""
    return [row["what"] for row in _rows(database, query)]


def _rows(database: Database, query: str, *parameters: str | UUID) -> Rows:
    with database.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, parameters).fetchall()
