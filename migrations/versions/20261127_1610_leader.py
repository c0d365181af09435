"""When the scheduler that leads, or led last, was heard of.

Revision ID: 7c1e5a90d2b4
Revises: 6b1f94d20e7a
"""

import sqlalchemy as sa
from alembic import op

revision = "7c1e5a90d2b4"
down_revision = "6b1f94d20e7a"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    op.create_table(
        "leader",
        sa.Column("id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("heard_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name="there_is_one"),
    )


def downgrade() -> None:
    op.drop_table("leader")
