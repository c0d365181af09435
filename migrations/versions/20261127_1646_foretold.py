"""What jobs were told of their start, and when they began.

Revision ID: 9d4b71c6e0f3
Revises: 4d8e0f6b21c7
"""

import sqlalchemy as sa
from alembic import op

revision = "9d4b71c6e0f3"
down_revision = "4d8e0f6b21c7"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    op.create_table(
        "foretold",
        sa.Column("job_id", sa.Uuid(), primary_key=True),
        sa.Column("step", sa.BigInteger(), primary_key=True),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("low", sa.Float(), nullable=False),
        sa.Column("start", sa.Float(), nullable=False),
        sa.Column("high", sa.Float(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True)),
    )


def downgrade() -> None:
    op.drop_table("foretold")
