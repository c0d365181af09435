"""Of jobs that asked the same the newest are found first.

Revision ID: 3f81b6d2ca97
Revises: 9d24c7e80b35
"""

import sqlalchemy as sa
from alembic import op

revision = "3f81b6d2ca97"
down_revision = "9d24c7e80b35"
branch_labels = None
depends_on = None

additive = True

SUCCEEDED = sa.text("status = 'succeeded'")


def upgrade() -> None:
    op.create_index(
        "jobs_answered_lately", "jobs", ["questions", sa.text("created_at DESC")], postgresql_where=SUCCEEDED
    )
    op.drop_index("jobs_answered", "jobs")


def downgrade() -> None:
    op.create_index("jobs_answered", "jobs", ["questions"], postgresql_where=SUCCEEDED)
    op.drop_index("jobs_answered_lately", "jobs")
