"""Jobs are found by a part of their model's name.

Revision ID: 9d24c7e80b35
Revises: 5b0e9c4d71fa
"""

import sqlalchemy as sa
from alembic import op

revision = "9d24c7e80b35"
down_revision = "5b0e9c4d71fa"
branch_labels = None
depends_on = None

additive = True


def upgrade() -> None:
    """Only the beginning of a name: an entry of an index has a size that a name may pass."""
    columns = ("left(engine->>'model', 600)", "created_at DESC", "id DESC")
    op.create_index("jobs_of_model", "jobs", [sa.text(column) for column in columns])


def downgrade() -> None:
    op.drop_index("jobs_of_model", "jobs")
