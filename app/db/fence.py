"""The guard of every write of a worker: what it holds, by its token and by the database's clock.

A guarded statement that changes no row is answered by LeaseLostError (or ChunkLostError): whoever holds nothing any
more stops, kills its child and writes nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Uuid, and_, bindparam, column, func, select, tuple_

from app.db.tables import ChunkRow, GroupRow, JobRow, ReplicaRow
from app.domain.chunk import ChunkStatus
from app.domain.job import JobStatus
from app.domain.lease import Lease
from app.domain.replica import LIVE
from app.errors import LeaseLostError


def job_held(lease: Lease) -> ColumnElement[bool]:
    """The job, if it runs under this lease."""
    return and_(
        JobRow.id == lease.id,
        JobRow.lease_token == lease.token,
        JobRow.lease_expires_at > func.now(),
        JobRow.status == JobStatus.RUNNING,
    )


def parked_jobs_held(leases: Sequence[Lease]) -> ColumnElement[bool]:
    """The parked jobs among these that run under their leases."""
    given = func.unnest(
        bindparam(None, [lease.id for lease in leases], type_=ARRAY(Uuid)),
        bindparam(None, [lease.token for lease in leases], type_=ARRAY(Uuid)),
    ).table_valued(column("id", Uuid), column("token", Uuid))
    pairs = given.render_derived()
    return and_(
        tuple_(JobRow.id, JobRow.lease_token).in_(select(pairs.c.id, pairs.c.token)),
        JobRow.lease_expires_at > func.now(),
        JobRow.status == JobStatus.RUNNING,
        JobRow.parked_at.is_not(None),
    )


def replica_held(lease: Lease) -> ColumnElement[bool]:
    """The replica, if it lives under this lease."""
    return and_(
        ReplicaRow.id == lease.id,
        ReplicaRow.lease_token == lease.token,
        ReplicaRow.lease_expires_at > func.now(),
        ReplicaRow.status.in_(LIVE),
    )


def replica_is_held(lease: Lease) -> ColumnElement[bool]:
    """Whether it does, in a statement about something else."""
    return select(ReplicaRow.id).where(replica_held(lease)).exists()


def in_hand(lease: Lease) -> ColumnElement[bool]:
    """Chunks that were claimed under this lease of a replica, while it holds."""
    return and_(
        ChunkRow.status == ChunkStatus.CLAIMED,
        ChunkRow.replica_id == lease.id,
        ChunkRow.token == lease.token,
        replica_is_held(lease),
    )


def group_owned(token: UUID) -> ColumnElement[bool]:
    """The group that the worker with this token registered last."""
    return GroupRow.worker_token == token


def job_lost(lease: Lease) -> LeaseLostError:
    """The job has another holder, or none."""
    return LeaseLostError(f"the lease on job {lease.id} is lost")


def replica_lost(lease: Lease) -> LeaseLostError:
    """The replica has ended."""
    return LeaseLostError(f"the lease on replica {lease.id} is lost")
