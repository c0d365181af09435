"""Tasks may end partially failed. Older code does not know the word, so this is not an addition to it.

Revision ID: 5d1f0b7c92ae
Revises: be523c81576b
"""

from alembic import op

revision = "5d1f0b7c92ae"
down_revision = "be523c81576b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_constraint("status_known", "job_tasks")
    op.create_check_constraint(
        "status_known",
        "job_tasks",
        "status IN ('waiting', 'running', 'succeeded', 'partially_failed', 'failed')",
    )


def downgrade() -> None:
    op.execute("UPDATE job_tasks SET status = 'failed' WHERE status = 'partially_failed'")
    op.drop_constraint("status_known", "job_tasks")
    op.create_check_constraint(
        "status_known", "job_tasks", "status IN ('waiting', 'running', 'succeeded', 'failed')"
    )
