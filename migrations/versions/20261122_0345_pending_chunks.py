"""An index for what the scheduler asks every turn: how much of each running job is still to be answered.

Revision ID: 8a4e6c21d7b3
Revises: 5d1f0b7c92ae
"""

from alembic import op

revision = "8a4e6c21d7b3"
down_revision = "5d1f0b7c92ae"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    op.create_index(
        "chunks_pending",
        "chunks",
        ["job_id"],
        postgresql_include=["cost"],
        postgresql_where="status IN ('waiting', 'claimed')",
    )


def downgrade() -> None:
    op.drop_index("chunks_pending", "chunks")
