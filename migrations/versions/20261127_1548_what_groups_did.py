"""What GPU groups did lately, and why one was drained, for people who look.

Revision ID: 7c1d94e0b6a2
Revises: 4b8e17d2f9a3
"""

import sqlalchemy as sa
from alembic import op

revision = "7c1d94e0b6a2"
down_revision = "4b8e17d2f9a3"
branch_labels = None
depends_on = None

additive = True

INDICES = (("jobs_ended_lately", "jobs"), ("replicas_ended", "replicas"))
COLUMNS = ("drain_reason", "drained_by")


def upgrade() -> None:
    for name, table in INDICES:
        op.create_index(name, table, ["ended_at"], postgresql_where=sa.text("ended_at IS NOT NULL"))
    op.create_index("jobs_counted", "jobs", ["team", "status"])
    for name in COLUMNS:
        op.add_column("gpu_groups", sa.Column(name, sa.Text()))


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("gpu_groups", name)
    op.drop_index("jobs_counted", "jobs")
    for name, table in INDICES:
        op.drop_index(name, table)
