"""How far the engine is inside a chunk that it has not answered yet.

Revision ID: 9e2f60b7d514
Revises: 6c1f8e24b0d7
"""

import sqlalchemy as sa
from alembic import op

revision = "9e2f60b7d514"
down_revision = "6c1f8e24b0d7"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    op.add_column("chunks", sa.Column("requests_done", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("chunks", sa.Column("cost_done", sa.Float(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("chunks", "cost_done")
    op.drop_column("chunks", "requests_done")
