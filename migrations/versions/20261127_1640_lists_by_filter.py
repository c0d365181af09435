"""Indexes for lists of jobs of one owner, status, name or tag.

Revision ID: 4d8e0f6b21c7
Revises: 7c1e5a90d2b4
"""

import sqlalchemy as sa
from alembic import op

revision = "4d8e0f6b21c7"
down_revision = "7c1e5a90d2b4"
branch_labels = None
depends_on = None

additive = True

NEWEST = (sa.text("created_at DESC"), sa.text("id DESC"))


def upgrade() -> None:
    op.create_index("jobs_of_owner", "jobs", ["owner", *NEWEST])
    op.create_index("jobs_of_status", "jobs", ["status", *NEWEST])
    op.create_index("jobs_named", "jobs", ["name", *NEWEST])
    op.create_index("jobs_tagged", "jobs", ["tags"], postgresql_using="gin")


def downgrade() -> None:
    for name in ("jobs_tagged", "jobs_named", "jobs_of_status", "jobs_of_owner"):
        op.drop_index(name, "jobs")
