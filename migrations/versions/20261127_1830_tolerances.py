"""How far fast scoring is from stock on a worker's devices, where it was measured.

Revision ID: 5f2c8a61d94b
Revises: 9d4b71c6e0f3
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "5f2c8a61d94b"
down_revision = "9d4b71c6e0f3"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    op.add_column("gpu_groups", sa.Column("tolerances", JSONB(), server_default="{}", nullable=False))


def downgrade() -> None:
    op.drop_column("gpu_groups", "tolerances")
