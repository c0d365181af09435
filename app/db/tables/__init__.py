"""The schema, as SQLAlchemy sees it; migrations/ is what makes it."""

from app.db.columns import Base
from app.db.tables.accounts import ChargeRow, KeyRow, UsageRow
from app.db.tables.chunks import ChunkRow, EngineFactsRow, ResponseRow
from app.db.tables.jobs import EventRow, ForetoldRow, JobRow, JobTaskRow, SampleRow
from app.db.tables.replicas import DeviceRow, EngineMeasureRow, GroupRow, LeaderRow, LogRow, ReplicaRow
from app.db.tables.tallies import TallyRow

METADATA = Base.metadata
"""Of all tables."""

__all__ = [
    "METADATA",
    "ChargeRow",
    "ChunkRow",
    "DeviceRow",
    "EngineFactsRow",
    "EngineMeasureRow",
    "EventRow",
    "ForetoldRow",
    "GroupRow",
    "JobRow",
    "JobTaskRow",
    "KeyRow",
    "LeaderRow",
    "LogRow",
    "ReplicaRow",
    "ResponseRow",
    "SampleRow",
    "TallyRow",
    "UsageRow",
]
