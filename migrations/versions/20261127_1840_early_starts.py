"""For which job a replica was started early, and which jobs ask the same.

Revision ID: 5b0e9c4d71fa
Revises: 7c5e21a9d4f8
"""

import sqlalchemy as sa
from alembic import op

revision = "5b0e9c4d71fa"
down_revision = "7c5e21a9d4f8"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    op.add_column("replicas", sa.Column("early_for", sa.Uuid()))
    op.create_index(
        "replicas_early", "replicas", ["early_for"], postgresql_where=sa.text("early_for IS NOT NULL")
    )
    op.add_column("jobs", sa.Column("questions", sa.Text()))
    op.create_index("jobs_answered", "jobs", ["questions"], postgresql_where=sa.text("status = 'succeeded'"))


def downgrade() -> None:
    op.drop_index("jobs_answered", "jobs")
    op.drop_column("jobs", "questions")
    op.drop_index("replicas_early", "replicas")
    op.drop_column("replicas", "early_for")
