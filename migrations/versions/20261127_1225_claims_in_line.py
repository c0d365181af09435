"""Jobs of an engine in the order in which they are served, and chunks that wait after a failure: claims find both.

Revision ID: 9d3b7f20c8a1
Revises: 3fd2a7c08e15
"""

import sqlalchemy as sa
from alembic import op

revision = "9d3b7f20c8a1"
down_revision = "3fd2a7c08e15"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    op.create_index(
        "jobs_of_engine",
        "jobs",
        ["engine_key", sa.text("priority DESC"), "turn", "created_at"],
        postgresql_where=sa.text("status = 'running' AND phase <> 'preparing'"),
    )
    op.create_index(
        "chunks_retried",
        "chunks",
        ["job_id"],
        postgresql_where=sa.text("status = 'waiting' AND failures > 0"),
    )


def downgrade() -> None:
    op.drop_index("chunks_retried", "chunks")
    op.drop_index("jobs_of_engine", "jobs")
