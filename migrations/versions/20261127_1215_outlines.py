"""What lists show of a job's spec, so that they need not read it. Jobs that are there have none: theirs is read.

Revision ID: 5e0a92c4b7d1
Revises: 2d84b6f0a719
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "5e0a92c4b7d1"
down_revision = "2d84b6f0a719"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    op.add_column("jobs", sa.Column("outline", postgresql.JSONB()))


def downgrade() -> None:
    op.drop_column("jobs", "outline")
