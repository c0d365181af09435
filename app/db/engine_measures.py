"""What engines measured when they were loaded: a row for each load, the newest of each engine and place kept."""

from __future__ import annotations

from collections import defaultdict
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.tables import DeviceRow, EngineMeasureRow, ReplicaRow
from app.domain.engine_spec import EngineSpec
from app.domain.measures import LoadMeasure, Measured, Placed, in_the_middle, kind_of, speed

MOST_LOADS = 20
"""Of one engine in one place: older ones tell nothing more."""

MOST_READ = 500

_Told: TypeAlias = tuple[LoadMeasure, int, int, float]
"""What a load measured; requests, tokens and seconds of its replica's account."""


class EngineMeasureRepository:
    """Notes one load, tells of many."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def note(self, replica_id: UUID, engine: EngineSpec, name: str, load: LoadMeasure) -> None:
        """Keep what a replica measured while it loaded, and forget what is older than the newest loads. Once."""
        names = select(DeviceRow.name).where(DeviceRow.replica_id == replica_id)
        placed = {
            "name": name,
            "device_kind": kind_of(self._session.scalars(names)),
            "tensor": engine.tensor_parallel_size,
            "pipeline": engine.pipeline_parallel_size,
            "gpus": engine.gpus,
        }
        row = insert(EngineMeasureRow).values(replica_id=replica_id, measures=load.known, **placed)
        self._session.execute(row.on_conflict_do_nothing())
        same = (getattr(EngineMeasureRow, column) == value for column, value in placed.items())
        kept = select(EngineMeasureRow.replica_id).where(*same)
        newest_first = (EngineMeasureRow.loaded_at.desc(), EngineMeasureRow.replica_id.desc())
        older = kept.order_by(*newest_first).offset(MOST_LOADS)
        self._session.execute(delete(EngineMeasureRow).where(EngineMeasureRow.replica_id.in_(older)))

    def raise_peak(self, replica_id: UUID, peak_bytes: float) -> None:
        """The most that it has taken of a device by now."""
        measures = EngineMeasureRow.measures.concat(func.jsonb_build_object("peak_bytes", peak_bytes))
        known = EngineMeasureRow.replica_id == replica_id
        self._session.execute(
            update(EngineMeasureRow)
            .where(known)
            .values(measures=measures)
            .execution_options(synchronize_session=False)
        )

    def recall(self, name: str) -> list[Measured]:
        """What the newest loads of this engine measured, in each place that it had."""
        account = (ReplicaRow.requests_done, ReplicaRow.tokens_done, ReplicaRow.busy_seconds)
        query = (
            select(EngineMeasureRow, *account)
            .outerjoin(ReplicaRow, ReplicaRow.id == EngineMeasureRow.replica_id)
            .where(EngineMeasureRow.name == name)
            .order_by(EngineMeasureRow.loaded_at.desc())
            .limit(MOST_READ)
        )
        places: dict[Placed, list[_Told]] = defaultdict(list)
        for row, requests, tokens, seconds in self._session.execute(query):
            told = LoadMeasure.told(row.measures), requests or 0, tokens or 0, seconds or 0.0
            places[Placed(row.device_kind, row.tensor, row.pipeline, row.gpus)].append(told)
        return [_measured(placed, loads) for placed, loads in places.items()]


def _measured(placed: Placed, loads: list[_Told]) -> Measured:
    measures, requests, tokens, seconds = zip(*loads, strict=True)
    busy = sum(seconds)
    return Measured(
        placed, len(loads), in_the_middle(measures), speed(sum(requests), busy), speed(sum(tokens), busy)
    )
