"""Which spare engine child serves a replica: its processes carry the child's own mark.

Revision ID: b7e2d90c41fa
Revises: 5f2c8a61d94b
"""

import sqlalchemy as sa
from alembic import op

revision = "b7e2d90c41fa"
down_revision = "5f2c8a61d94b"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    op.add_column("replicas", sa.Column("spare_id", sa.Uuid()))
    op.create_index(
        "replicas_spare",
        "replicas",
        ["spare_id"],
        unique=True,
        postgresql_where=sa.text("spare_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("replicas_spare", "replicas")
    op.drop_column("replicas", "spare_id")
