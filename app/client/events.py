"""A job's events as they happen, over lost connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.client.calls import Api, Json, UnreachableError
from app.client.exit_codes import OF_STATUS

PATIENCE = 12  # connections in a row that bring nothing
REFRESH_SECONDS = 0.5
NOTHING_MORE = 204
SILENCE_SECONDS = 60.0  # a living stream says more often than this that it lives


@dataclass(frozen=True)
class SentEvent:
    """One entry of a job's log as JSON text; a snapshot has no id."""

    id: str
    type: str
    text: str

    @property
    def final(self) -> bool:
        """The job ended, unless it was sent back to the queue since."""
        return self.type.removeprefix("job.") in OF_STATUS


def ended(job: Json) -> bool:
    """Whether nothing happens to the job any more by itself."""
    return job["status"] in OF_STATUS


def events(api: Api, job_id: str, *, pause: Callable[[float], None] = time.sleep) -> Iterator[SentEvent]:
    """Every event until the job has ended, each once; UnreachableError when the service stays away."""
    last, silent = "", 0
    while True:
        try:
            for event in _connected(api, job_id, last):
                last, silent = event.id or last, 0
                yield event
                if event.final and ended(api.job(job_id)):
                    return
            if ended(api.job(job_id)):
                return
        except UnreachableError:
            if silent >= PATIENCE:
                raise
        silent += 1
        pause(min(0.25 * 2**silent, 5.0))


def states(
    api: Api,
    job_id: str,
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[Json]:
    """The job whenever something happened to it, at most twice a second while it only advances; last as it ended."""
    job = api.job(job_id)
    seen_at = clock()
    yield job
    if ended(job):
        return
    for event in events(api, job_id, pause=pause):
        if event.type != "job.progress" or clock() - seen_at >= REFRESH_SECONDS:
            job, seen_at = _job_now(api, job_id, job), clock()
            yield job
    if not ended(job):
        yield api.job(job_id)


def _job_now(api: Api, job_id: str, known: Json) -> Json:
    """The job, or what is known of it while the service is away."""
    try:
        return api.job(job_id)
    except UnreachableError:
        return known


def _connected(api: Api, job_id: str, last: str) -> Iterator[SentEvent]:
    from httpx_sse import EventSource

    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if last:
        headers["Last-Event-ID"] = last
    with api.stream(
        f"/v1/jobs/{job_id}/events", headers=headers, silence_seconds=SILENCE_SECONDS
    ) as response:
        if response.status_code == NOTHING_MORE:
            return
        for message in EventSource(response).iter_sse():
            yield SentEvent(message.id, message.event, message.data)
