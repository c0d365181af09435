"""An index for the line of queued jobs: who comes first is asked with every message and every turn.

Revision ID: c3f0a95be817
Revises: 8c40e1a6d9b3
"""

import sqlalchemy as sa
from alembic import op

revision = "c3f0a95be817"
down_revision = "8c40e1a6d9b3"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    op.create_index(
        "jobs_in_line",
        "jobs",
        [sa.text("priority DESC"), "created_at"],
        postgresql_where="status = 'queued'",
    )


def downgrade() -> None:
    op.drop_index("jobs_in_line", "jobs")
