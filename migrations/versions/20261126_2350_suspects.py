"""Chunks that an engine died with in its hands, among others: each is next sent alone.

Revision ID: 6c1f8e24b0d7
Revises: 3b7d90c4ee21
"""

import sqlalchemy as sa
from alembic import op

revision = "6c1f8e24b0d7"
down_revision = "3b7d90c4ee21"
branch_labels = None
depends_on = None
additive = True


def upgrade() -> None:
    op.add_column(
        "chunks", sa.Column("suspect", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.create_index(
        "chunks_suspected",
        "chunks",
        ["job_id", "position"],
        postgresql_where="status = 'waiting' AND suspect",
    )


def downgrade() -> None:
    op.drop_index("chunks_suspected", "chunks")
    op.drop_column("chunks", "suspect")
