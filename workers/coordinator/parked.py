"""The jobs that this coordinator keeps while they wait for engines: none has a place or a harness child."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from uuid import UUID

from app.asking import working_on
from app.domain.job import Job, Phase
from app.domain.lease import Lease
from app.domain.parking import Stir
from app.errors import DatabaseError, DatabaseRefusedError, DatabaseUnreachableError, LeaseLostError
from app.services.coordination import CoordinationService
from app.services.parking import Adopted
from app.settings import Settings
from workers.coordinator.attempt import Attempt
from workers.coordinator.course import Course
from workers.coordinator.endings import EngineChanged
from workers.coordinator.progress import Tally

LOOK_SECONDS = 1.0
MOST_CHANGED = 50
UNREAD = "this version of evalq cannot read the job, which waits until one can"
AT_ONCE = 5
"""Jobs of one look of which nothing stirs: what runs in this process goes on beside it."""

log = logging.getLogger(__name__)


class ParkedJobs:
    """Renews their leases, tells how far engines are, and gives back each one that its harness has to go on with."""

    def __init__(
        self,
        *,
        coordination: CoordinationService,
        settings: Settings,
        holder: str,
        attempt_of: Callable[[Lease, Job], Attempt],
    ) -> None:
        self._coordination = coordination
        self._parking = coordination.parking
        self._settings = settings
        self._holder = holder
        self._attempt_of = attempt_of
        self._kept: dict[UUID, Course] = {}
        self._unread: set[UUID] = set()
        self._lock = threading.Lock()
        self._renewed_at = float("-inf")

    def keep(self, course: Course) -> None:
        """From now on the job is kept here, under the lease that it has."""
        with self._lock:
            self._kept[course.lease.id] = course
            self._renewed_at = float("-inf")

    def run(self, over: threading.Event) -> None:
        """Look until it is over; then others keep them."""
        while not over.wait(LOOK_SECONDS):
            _attempt(self.look_once)
        _attempt(self.let_go)

    def look_once(self) -> int:
        """Look at those around which something stirs, and at some of the others; returns how many are kept."""
        self._renew()
        for lease in self._parking.adopt(self._holder):
            with working_on("job", lease.id):
                self._adopt(lease)
        with self._lock:
            courses = dict(self._kept)
        if not courses:
            return 0
        stirs = self._parking.stirs([course.lease for course in courses.values()])
        for job_id in courses.keys() - stirs.keys():
            self._forget(courses.pop(job_id))
        for course in self._chosen(courses, stirs):
            self._renew()
            with working_on("job", course.lease.id):
                self._look_at(course, stirs[course.lease.id])
        return len(self._kept)

    def _adopt(self, lease: Lease) -> None:
        """Keep it; one that cannot be read is told so once, and tried again when this lease is over."""
        try:
            self.keep(self._course_of(self._parking.adopted(lease)))
        except LeaseLostError as error:
            log.warning("%s", error)
        except DatabaseUnreachableError:
            raise
        except Exception as error:
            log.exception("this parked job could not be read")
            if lease.id not in self._unread:
                self._warn(lease, {"reason": f"{UNREAD}: {error!r}"})

    def _warn(self, lease: Lease, data: Mapping[str, str]) -> None:
        """Once; again where it could not be written, which holds up no other."""
        try:
            self._coordination.warn(lease, data)
            self._unread.add(lease.id)
        except LeaseLostError as error:
            log.warning("%s", error)
        except DatabaseRefusedError as error:
            log.warning("this parked job could not be warned: %s", error.details)

    def let_go(self) -> None:
        """Others keep them: this coordinator stops."""
        with self._lock:
            leases = [course.lease for course in self._kept.values()]
            self._kept.clear()
        if leases:
            self._parking.let_go(leases)

    def _renew(self) -> None:
        """As often as any lease."""
        if time.monotonic() - self._renewed_at < self._settings.lease_seconds / 6 or not self._kept:
            return
        self._renewed_at = time.monotonic()
        with self._lock:
            leases = [course.lease for course in self._kept.values()]
        self._parking.renew_all(leases)

    def _course_of(self, kept: Adopted) -> Course:
        job = kept.job
        totals = {task.name: task.total for task in job.tasks if task.total is not None}
        tally = Tally(job.requests_done)
        tally.prepare(totals, {task.name: task.done for task in job.tasks})
        apart = (job.requests_total or 0) - kept.requests  # several tasks may ask for one request
        tally.give(max(min(apart, job.requests_done), 0))
        tally.plan(kept.cost)
        return Course(self._coordination, self._settings, self._attempt_of(kept.lease, job), job, tally)

    def _chosen(self, courses: Mapping[UUID, Course], stirs: Mapping[UUID, Stir]) -> list[Course]:
        """Those that stir; of the others first those whose engines came or went, then those not looked at for long."""
        moving = [courses[job_id] for job_id, stir in stirs.items() if stir.moves]
        still = [courses[job_id] for job_id, stir in stirs.items() if not stir.moves]
        changed = [each for each in still if each.engines != stirs[each.lease.id].engines]
        rest = sorted(still, key=lambda course: course.looked_at)
        return moving + (changed[:MOST_CHANGED] or rest[:AT_ONCE])

    def _look_at(self, course: Course, stir: Stir) -> None:
        course.looked_at, course.engines = time.monotonic(), stir.engines
        try:
            if not self._goes_on_waiting(course, stir):
                self._forget(course)
        except LeaseLostError as error:
            log.warning("%s", error)
            self._forget(course)
        except DatabaseUnreachableError:
            raise
        except Exception:  # it holds up no other, and a coordinator with a place finds out more
            log.exception("this parked job could not be looked at")
            self._give_back(course)

    def _goes_on_waiting(self, course: Course, stir: Stir) -> bool:
        if course.obey(stir.order):
            return False
        if course.phase is Phase.PREPARING:
            self._parking.give_back(course.lease)
            return False
        answered = self._parking.count_answered(course.lease)
        course.charge(answered)
        course.tally.give_alone(answered.requests)
        ending = course.explain() if stir.pending else None
        if ending is None or isinstance(ending, EngineChanged):
            course.report()
        if isinstance(ending, EngineChanged) or (ending is None and stir.needs_harness):
            self._parking.give_back(course.lease)
            return False
        return ending is None

    def _give_back(self, course: Course) -> None:
        try:
            self._parking.give_back(course.lease)
        except LeaseLostError as error:
            log.warning("%s", error)
        self._forget(course)

    def _forget(self, course: Course) -> None:
        with self._lock:
            self._kept.pop(course.lease.id, None)


def _attempt(step: Callable[[], object]) -> None:
    try:
        step()
    except DatabaseError as error:
        log.warning("the database failed, looking again: %s", error.details)
    except Exception:
        log.exception("parked jobs could not be looked at")
