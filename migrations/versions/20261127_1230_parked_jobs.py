"""Jobs that wait for engines without a coordinator's place: since when, whether one is wanted again, what they store.

Revision ID: 3d7f20b8c64e
Revises: 9d3b7f20c8a1
"""

import sqlalchemy as sa
from alembic import op

revision = "3d7f20b8c64e"
down_revision = "9d3b7f20c8a1"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    op.add_column("jobs", sa.Column("parked_at", sa.DateTime(timezone=True)))
    op.add_column("jobs", sa.Column("due_at", sa.DateTime(timezone=True)))
    op.add_column("jobs", sa.Column("parked_bytes", sa.BigInteger()))
    op.create_index("jobs_parked", "jobs", ["due_at"], postgresql_where=sa.text("parked_at IS NOT NULL"))


def downgrade() -> None:
    op.drop_index("jobs_parked", table_name="jobs")
    for column in ("parked_bytes", "due_at", "parked_at"):
        op.drop_column("jobs", column)
