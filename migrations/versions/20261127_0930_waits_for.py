"""What a job waits for that the cluster lacks.

Revision ID: a3c5e1d97b48
Revises: d40a7be51c96
"""

import sqlalchemy as sa
from alembic import op

revision = "a3c5e1d97b48"
down_revision = "d40a7be51c96"
branch_labels = None
depends_on = None

additive = False  # processes before it read no plan of a new job, and take those that wait


def upgrade() -> None:
    op.add_column("jobs", sa.Column("waits_for", sa.Text()))


def downgrade() -> None:
    op.drop_column("jobs", "waits_for")
