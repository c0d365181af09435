"""What a job leaves behind: lm-eval's document, sample rows, files, logs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.histories import HistoryRepository
from app.db.jobs import JobRepository
from app.db.outputs import JobLog, LogRepository, SampleRepository
from app.db.session import Sessions
from app.domain.file_names import as_file_name, unused
from app.domain.job import Job
from app.domain.output import LogPiece, Sample, SampleCounts, SampleFilter, SampleSearch
from app.errors import NoResultsYetError, StaleJobError, TookTooLongError, UnknownArtifactError
from app.services.lately import Lately

PAGE = 1000
MOST_COUNTED = 20_000
"""Sample lines of a task."""
COUNTED_SECONDS = 20.0
"""So long a task's counts serve who reads one of its lines after the other."""
MOST_WIDE = 4000
"""Characters of a line of a log that was looked for."""
FILE_PAGE = 100
"""Sample lines in memory at once while a file is read: one with a long prompt takes a megabyte."""


@dataclass(frozen=True)
class Artifact:
    """A file's text in pieces, to the byte as lm-eval writes it, and how large it is as UTF-8."""

    pieces: Iterator[str]
    size_bytes: int


@dataclass(frozen=True)
class Bundle:
    """All files of a job with their places below the folder that lm-eval would write to."""

    files: Sequence[tuple[str, Artifact]]
    written_at: datetime


@dataclass(frozen=True)
class LogPage:
    """Pieces of a job's logs; `ended` when the job is over and these are the last."""

    pieces: list[LogPiece]
    ended: bool


class ResultService:
    """Reads only; a missing job raises UnknownJobError."""

    def __init__(self, *, sessions: Sessions) -> None:
        self._sessions = sessions
        self._counted = Lately(self._count, COUNTED_SECONDS)

    def document(self, job_id: UUID) -> dict[str, Any]:
        """lm-eval's result document with `evalq` beside it; before the end, the tasks finished so far."""
        with self._sessions.begin() as session:
            text, _, _, provenance = JobRepository(session).document(job_id)
            job = JobRepository(session).get(job_id)
        if text is None:
            finished = {task.name: dict(task.metrics) for task in job.tasks if task.metrics is not None}
            if not finished:
                raise NoResultsYetError(f"job {job_id} is {job.status} and has not finished a task")
            document: dict[str, Any] = {"results": finished}
        else:
            document = json.loads(text)
        return document | {
            "evalq": {
                "job": str(job_id),
                "status": job.status,
                "complete": text is not None,
                "attempt": job.attempt,
                "requests_reused": job.requests_reused,
                "gpu_seconds": job.gpu_seconds,
                "quality": {task.name: task.quality.to_json() for task in job.tasks if task.quality},
                "errors": [task.error.to_json() | {"task": task.name} for task in job.tasks if task.error],
                **(provenance or {}),
            }
        }

    def samples(
        self,
        job_id: UUID,
        *,
        task: str | None,
        which: SampleFilter = SampleFilter.ALL,
        after: tuple[str, int] | None,
        limit: int,
        search: SampleSearch | None = None,
    ) -> list[Sample]:
        """Sample lines after the cursor; TookTooLongError of a search."""
        with self._sessions.briefly() if search else self._sessions.begin() as session:
            JobRepository(session).get(job_id)
            return SampleRepository(session).page(job_id, task, which, after, limit, search=search)

    def counts(self, job_id: UUID, task: str) -> SampleCounts | None:
        """How many of a task's sample lines each filter lets through, or did a moment ago; None if that takes long."""
        return self._counted.get((job_id, task))

    def _count(self, whose: tuple[UUID, str]) -> SampleCounts | None:
        job_id, task = whose
        try:
            with self._sessions.briefly() as session:
                JobRepository(session).get(job_id)
                return SampleRepository(session).counts(job_id, task, MOST_COUNTED)
        except TookTooLongError:
            return None

    def artifacts(self, job_id: UUID) -> list[str]:
        """File names as lm-eval gives them; none before the job has results."""
        with self._sessions.begin() as session:
            text, _, date, _ = JobRepository(session).document(job_id)
            tasks = SampleRepository(session).tasks(job_id)
        if text is None:
            return []
        return [f"results_{date}.json", *(f"samples_{task}_{date}.jsonl" for task in tasks)]

    def artifact(self, job_id: UUID, name: str) -> Artifact:
        """A file; UnknownArtifactError."""
        with self._sessions.begin() as session:
            text, _, date, _ = JobRepository(session).document(job_id)
            samples = SampleRepository(session)
            tasks = {f"samples_{task}_{date}.jsonl": task for task in samples.tasks(job_id)}
            if text is not None and name == f"results_{date}.json":
                return Artifact(iter([text]), len(text.encode()))
            if text is not None and (task := tasks.get(name)) is not None:
                return Artifact(self._sample_lines(job_id, task), samples.size_bytes(job_id, task))
        raise UnknownArtifactError(f"job {job_id} has no artifact {name!r}")

    def bundle(self, job_id: UUID) -> Bundle:
        """Everything at once; NoResultsYetError before the job has results.

        A file that another attempt changes while it is read raises StaleJobError.
        """
        with self._sessions.begin() as session:
            text, model, date, _ = JobRepository(session).document(job_id)
            job = JobRepository(session).get(job_id)
            if text is None:
                raise NoResultsYetError(f"job {job_id} is {job.status} and has written no files")
            sizes = SampleRepository(session).sizes_bytes(job_id)
        folder, date = as_file_name(model or job.engine.model), as_file_name(str(date))
        files = {f"{folder}/results_{date}.json": Artifact(iter([text]), len(text.encode()))}
        for task, size in sizes.items():
            place = unused(f"{folder}/samples_{as_file_name(task)}_{date}.jsonl", files)
            files[place] = Artifact(self._whole(job_id, task, size), size)
        return Bundle(list(files.items()), job.ended_at or job.created_at)

    def _whole(self, job_id: UUID, task: str, size_bytes: int) -> Iterator[str]:
        left = size_bytes
        for piece in self._sample_lines(job_id, task):
            left -= len(piece.encode())
            yield piece
        if left:
            raise StaleJobError(f"the samples of job {job_id} changed while they were read: ask again")

    def _sample_lines(self, job_id: UUID, task: str) -> Iterator[str]:
        after: tuple[str, int] | None = None
        while page := self.samples(job_id, task=task, after=after, limit=FILE_PAGE):
            yield "".join(sample.row + "\n" for sample in page)
            after = (page[-1].task, page[-1].position)

    def logs(self, job_id: UUID, *, seen: Mapping[UUID, int], limit: int = PAGE) -> LogPage:
        """Log pieces of the job, and of its replicas as far as they are its own, after the last one seen of each."""
        with self._sessions.begin() as session:
            job = JobRepository(session).get(job_id)
            pieces = LogRepository(session).after(self._log(session, job), seen, limit)
        return LogPage(pieces, ended=job.status.terminal and len(pieces) < limit)

    def last_logs(self, job_id: UUID, limit: int) -> LogPage:
        """The newest of them, oldest first."""
        with self._sessions.begin() as session:
            job = JobRepository(session).get(job_id)
            pieces = LogRepository(session).last(self._log(session, job), limit)
        return LogPage(pieces, ended=job.status.terminal)

    def found_lines(self, job_id: UUID, text: str) -> list[str]:
        """The last lines of the job's log that hold a text, oldest first; TookTooLongError."""
        with self._sessions.briefly() as session:
            log = self._log(session, JobRepository(session).get(job_id))
            return LogRepository(session).lines(log, text, PAGE, MOST_WIDE)

    def _log(self, session: Session, job: Job) -> JobLog:
        replicas = HistoryRepository(session).replicas(job.id)
        return JobLog(job.id, {replica.id: replica.serving_at for replica in replicas})
