"""What an engine said of itself, by fingerprint: there for jobs whose answers are all stored.

Revision ID: f41c7d0e92ab
Revises: 5d1b7f20c4e8
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "f41c7d0e92ab"
down_revision = "5d1b7f20c4e8"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    op.create_table(
        "engine_facts",
        sa.Column("fingerprint", sa.LargeBinary(), primary_key=True),
        sa.Column("facts", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
    )


def downgrade() -> None:
    op.drop_table("engine_facts")
