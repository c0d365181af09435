"""What is installed on a worker's host, whether it works, and its versions.

Revision ID: d40a7be51c96
Revises: d41c7b9e0a36
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "d40a7be51c96"
down_revision = "d41c7b9e0a36"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    op.add_column("gpu_groups", sa.Column("installed", JSONB(), server_default="{}", nullable=False))


def downgrade() -> None:
    op.drop_column("gpu_groups", "installed")
