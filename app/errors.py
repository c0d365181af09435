"""Every error evalq raises on purpose. A `code` is stable; the message names the fact and the way out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

MOST_FAULTS = 100
WAY_OUT = "with wait_for_capacity the job is taken, and waits until this is there"
MOST_TOLD = 10
"""Faults told in one line."""


class EvalqError(Exception):
    """An error with a stable code and a message for people."""

    code = "internal"


@dataclass(frozen=True)
class FaultyField:
    """One thing wrong with what a user sent: where, what, and what would be right."""

    path: str
    message: str
    allowed: tuple[str, ...] | None = None
    lacks: str | None = None
    """What is not there, in words, where nothing but the state of this cluster makes it a fault."""

    @property
    def lacking(self) -> bool:
        """Whether it is no fault any more once the cluster has what it lacks."""
        return self.lacks is not None


class InvalidRequestError(EvalqError):
    """What was sent cannot be accepted; carries every fault at once, of very many the first and a count."""

    code = "invalid_request"

    def __init__(self, faults: Iterable[FaultyField], more: int = 0) -> None:
        """`more` were counted already, and are not among `faults`."""
        left = iter(faults)
        self.named = list(islice(left, MOST_FAULTS))
        self.more = more + sum(1 for _ in left)
        if self.more and len(self.named) == MOST_FAULTS:
            self.named.pop()
            self.more += 1
        self.faults = self.named + [FaultyField("", f"and {self.more} more faults")] * bool(self.more)
        super().__init__(_in_a_line(self.faults))


def _in_a_line(faults: list[FaultyField]) -> str:
    """The first faults, with the counting one where there is one."""
    told = [*faults[:MOST_TOLD], *faults[max(MOST_TOLD, len(faults) - 1) :]]
    return "; ".join(": ".join(filter(None, (fault.path, fault.message))) for fault in told)


class InvalidJobError(InvalidRequestError):
    """The job cannot run as it was posted."""

    code = "invalid_job"

    def __init__(self, faults: Iterable[FaultyField], more: int = 0, plan: object = None) -> None:
        """`plan`: how it would run, as far as that can be said."""
        super().__init__(faults, more)
        self.plan = plan
        if self.lacking:
            self.args = (f"{self} ({WAY_OUT})",)

    @property
    def lacking(self) -> bool:
        """Whether nothing but the state of this cluster speaks against it."""
        return bool(self.faults) and all(fault.lacking for fault in self.faults)


class UnknownJobError(EvalqError):
    """No job has this id."""

    code = "unknown_job"


class UnknownTaskError(EvalqError):
    """lm-eval and the operator's folders have no such task, group or tag."""

    code = "unknown_task"


class UnknownGroupError(EvalqError):
    """No GPU group has this name."""

    code = "unknown_group"


class UnknownArtifactError(EvalqError):
    """The job has no such artifact."""

    code = "unknown_artifact"


class NoResultsYetError(EvalqError):
    """The job has not finished a task yet."""

    code = "no_results_yet"


class IllegalMoveError(EvalqError):
    """The job cannot go where it was asked to go from its present status."""

    code = "illegal_move"


class StaleJobError(EvalqError):
    """Somebody changed the job in between; ask again."""

    code = "stale_job"


class IdempotencyConflictError(EvalqError):
    """The idempotency key was used with another body."""

    code = "idempotency_conflict"


class IdempotencyInFlightError(EvalqError):
    """A request with this idempotency key is still being answered."""

    code = "idempotency_in_flight"


class UnauthenticatedError(EvalqError):
    """A key is needed, and none or no valid one was sent."""

    code = "unauthenticated"


class ForbiddenError(EvalqError):
    """The key's role does not allow this."""

    code = "forbidden"


class CrossSiteError(EvalqError):
    """A browser sent this from another site, or under a name that is not this service's."""

    code = "cross_site"


class TooManyRequestsError(EvalqError):
    """The key's requests of this minute are used up."""

    code = "too_many_requests"

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class QuotaExceededError(TooManyRequestsError):
    """The team has as many jobs that have not ended as it may have."""

    code = "quota_exceeded"


class TooManyStreamsError(TooManyRequestsError):
    """The key holds as many streams open as it may."""

    code = "too_many_streams"


class BusyError(TooManyRequestsError):
    """The API process has as many streams open, or bodies to check, as it may."""

    code = "busy"


class TookTooLongError(EvalqError):
    """What was looked for takes too long to be found while somebody waits."""

    code = "took_too_long"


class LeaseLostError(EvalqError):
    """The lease is over or another holder has it: stop, kill the child, write nothing more."""

    code = "lease_lost"


class ChunkLostError(EvalqError):
    """The chunk was dropped or is settled already: its answer is not needed, the replica goes on."""

    code = "chunk_lost"


class OldSchemaError(EvalqError):
    """The database's schema is not the one this version needs."""

    code = "old_schema"


class BreakingMigrationError(EvalqError):
    """Processes of an older version run that could not go on after the migration."""

    code = "breaking_migration"


class DatabaseError(Exception):
    """The database did not do what was asked of it; `details` are the driver's words, for logs only."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details or message


class DatabaseRefusedError(DatabaseError):
    """It refused a statement, which is a fault of ours."""


class AlreadyStoredError(DatabaseRefusedError):
    """What may be stored once is there already: somebody stored it at the same moment."""


class DatabaseUnreachableError(DatabaseError, EvalqError):
    """The database did not answer."""

    code = "database_unreachable"


class BrokerUnreachableError(EvalqError):
    """The broker did not answer."""

    code = "broker_unreachable"


class UnknownKeyError(EvalqError):
    """No API key has this id."""

    code = "unknown_key"


class UnauthenticatedApiError(EvalqError):
    """The API would listen beyond loopback without keys."""

    code = "unauthenticated_api"


class BackendInstallError(EvalqError):
    """A backend's environment could not be built; the message says why and ends with pip's last lines."""

    code = "backend_install_failed"


class ToleranceError(EvalqError):
    """Fast scoring could not be measured; nothing was stored."""

    code = "tolerance_not_measured"


class BackendInUseError(EvalqError):
    """A backend's environment is not removed while a process of this host runs from it."""

    code = "backend_in_use"


class ChildStartError(EvalqError):
    """A child process could not be started; the message is the system's."""

    code = "child_not_started"


class GpuUnavailableError(EvalqError):
    """NVML does not answer, or a GPU that was asked for is not there."""

    code = "gpu_unavailable"


class InvalidSettingError(EvalqError):
    """A setting cannot be what it is; the message names its variable."""

    code = "invalid_setting"


class LocalStartError(EvalqError):
    """`evalq up` cannot start; the message names what stands in the way."""

    code = "local_start_failed"
