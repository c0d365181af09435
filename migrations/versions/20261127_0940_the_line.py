"""Whose turn it is between jobs of one priority, and the device seconds that it goes by.

Revision ID: 6b1f0c93d7e8
Revises: a3c5e1d97b48
"""

import sqlalchemy as sa
from alembic import op

revision = "6b1f0c93d7e8"
down_revision = "a3c5e1d97b48"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    op.add_column("jobs", sa.Column("turn", sa.BigInteger(), nullable=True))
    op.create_index(
        "jobs_by_turn",
        "jobs",
        [sa.text("priority DESC"), "turn", "created_at"],
        postgresql_where=sa.text("status = 'queued' AND waits_for IS NULL"),
    )
    op.drop_index("jobs_in_line", "jobs")
    op.create_table(
        "usage",
        sa.Column("hour", sa.DateTime(timezone=True), primary_key=True),
        sa.Column("team", sa.Text(), primary_key=True),
        sa.Column("owner", sa.Text(), primary_key=True),
        sa.Column("model", sa.Text(), primary_key=True),
        sa.Column("seconds", sa.Float(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("usage")
    op.create_index(
        "jobs_in_line",
        "jobs",
        [sa.text("priority DESC"), "created_at"],
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.drop_index("jobs_by_turn", "jobs")
    op.drop_column("jobs", "turn")
