"""What loaded engines measured, by engine and kind of device: the next plan reckons with it.

Revision ID: 7c1e5a90d2f4
Revises: 6b1f0c93d7e8
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "7c1e5a90d2f4"
down_revision = "6b1f0c93d7e8"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    op.create_table(
        "engine_measures",
        sa.Column("replica_id", sa.Uuid(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("device_kind", sa.Text(), nullable=False),
        sa.Column("tensor", sa.BigInteger(), nullable=False),
        sa.Column("pipeline", sa.BigInteger(), nullable=False),
        sa.Column("gpus", sa.BigInteger(), nullable=False),
        sa.Column("measures", postgresql.JSONB(), nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
    )
    op.create_index("engine_measures_name", "engine_measures", ["name", sa.text("loaded_at DESC")])


def downgrade() -> None:
    op.drop_table("engine_measures")
