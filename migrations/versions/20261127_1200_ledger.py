"""Every device second of a replica's lease, by what came of it.

Revision ID: 2d84b6f0a719
Revises: 7c1e5a90d2f4
"""

import sqlalchemy as sa
from alembic import op

revision = "2d84b6f0a719"
down_revision = "7c1e5a90d2f4"
branch_labels = None
depends_on = None

additive = False  # coordinators before it write `usage` without an outcome

OUTCOMES = "outcome IN ('useful', 'loading', 'failed', 'idle')"


def upgrade() -> None:
    op.add_column("replicas", sa.Column("accounted_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE replicas SET accounted_at = now() WHERE status IN ('loading', 'serving')")
    op.add_column("usage", sa.Column("outcome", sa.Text(), nullable=False, server_default="useful"))
    op.alter_column("usage", "outcome", server_default=None)
    op.drop_constraint("usage_pkey", "usage")
    op.create_primary_key("usage_pkey", "usage", ["hour", "team", "owner", "model", "outcome"])
    op.create_check_constraint("outcome_known", "usage", OUTCOMES)
    op.create_table(
        "charges",
        sa.Column("replica_id", sa.Uuid(), primary_key=True),
        sa.Column("hour", sa.DateTime(timezone=True), primary_key=True),
        sa.Column("team", sa.Text(), primary_key=True),
        sa.Column("owner", sa.Text(), primary_key=True),
        sa.Column("outcome", sa.Text(), primary_key=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.CheckConstraint(OUTCOMES, name="outcome_known"),
    )


def downgrade() -> None:
    op.drop_table("charges")
    op.execute("DELETE FROM usage WHERE outcome <> 'useful'")
    op.drop_constraint("outcome_known", "usage")
    op.drop_constraint("usage_pkey", "usage")
    op.create_primary_key("usage_pkey", "usage", ["hour", "team", "owner", "model"])
    op.drop_column("usage", "outcome")
    op.drop_column("replicas", "accounted_at")
