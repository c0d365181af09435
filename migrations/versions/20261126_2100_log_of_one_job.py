"""For which job a replica wrote a piece of its log: nobody reads what it wrote for others.

Revision ID: 5d1b7f20c4e8
Revises: c3f0a95be817
"""

import sqlalchemy as sa
from alembic import op

revision = "5d1b7f20c4e8"
down_revision = "c3f0a95be817"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    op.add_column("log_pieces", sa.Column("job_id", sa.Uuid()))
    op.create_index("log_pieces_of_job", "log_pieces", ["job_id", "owner_id", "number"])


def downgrade() -> None:
    op.drop_index("log_pieces_of_job", "log_pieces")
    op.drop_column("log_pieces", "job_id")
