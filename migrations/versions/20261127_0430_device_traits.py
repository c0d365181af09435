"""What else a worker reports of a device: compute capability, NVLink island, NUMA node, warnings.

Revision ID: d41c7b9e0a36
Revises: 9e2f60b7d514
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "d41c7b9e0a36"
down_revision = "9e2f60b7d514"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    op.add_column("devices", sa.Column("traits", postgresql.JSONB(), nullable=True))


def downgrade() -> None:
    op.drop_column("devices", "traits")
