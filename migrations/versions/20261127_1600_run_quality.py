"""How responses came about, and what of it counts for a task and a sample. What is stored already tells nothing.

Revision ID: 6b1f94d20e7a
Revises: 7c1d94e0b6a2
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "6b1f94d20e7a"
down_revision = "7c1d94e0b6a2"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    op.add_column("responses", sa.Column("note", sa.LargeBinary()))
    op.add_column("job_tasks", sa.Column("quality", postgresql.JSONB()))
    op.add_column("samples", sa.Column("truncated", sa.Boolean()))
    op.add_column("samples", sa.Column("empty", sa.Boolean()))


def downgrade() -> None:
    op.drop_column("samples", "empty")
    op.drop_column("samples", "truncated")
    op.drop_column("job_tasks", "quality")
    op.drop_column("responses", "note")
