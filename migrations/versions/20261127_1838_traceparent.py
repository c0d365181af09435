"""The trace that a job belongs to.

Revision ID: 7c5e21a9d4f8
Revises: b7e2d90c41fa
"""

import sqlalchemy as sa
from alembic import op

revision = "7c5e21a9d4f8"
down_revision = "b7e2d90c41fa"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    op.add_column("jobs", sa.Column("traceparent", sa.Text()))


def downgrade() -> None:
    op.drop_column("jobs", "traceparent")
