"""Counts that outlive what they were taken from, and ended jobs counted without reading them.

Revision ID: 3fd2a7c08e15
Revises: 5e0a92c4b7d1
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "3fd2a7c08e15"
down_revision = "5e0a92c4b7d1"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    op.create_table(
        "tallies",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("labels", postgresql.JSONB(), nullable=False),
        sa.Column("bound", sa.Float(), nullable=True),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.Float(), nullable=False),
    )
    op.execute(
        """INSERT INTO tallies (name, labels, times, amount)
        SELECT 'gpu_seconds', jsonb_build_object('outcome', outcome), 1, sum(seconds) FROM usage GROUP BY outcome"""
    )
    op.create_index("jobs_ended", "jobs", ["status"], postgresql_where=sa.text("ended_at IS NOT NULL"))


def downgrade() -> None:
    op.drop_index("jobs_ended", "jobs")
    op.drop_table("tallies")
