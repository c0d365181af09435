"""Devices whose hardware failed: drained until an operator gives them back.

Revision ID: 8c40e1a6d9b3
Revises: 8a4e6c21d7b3
"""

import sqlalchemy as sa
from alembic import op

revision = "8c40e1a6d9b3"
down_revision = "8a4e6c21d7b3"
branch_labels = None
depends_on = None
additive = True


def upgrade() -> None:
    op.add_column("devices", sa.Column("faulty_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("devices", "faulty_at")
