"""No task of an ended job waits or runs: those that jobs of before left so are closed.

Revision ID: 3b7d90c4ee21
Revises: f41c7d0e92ab
"""

from alembic import op

revision = "3b7d90c4ee21"
down_revision = "f41c7d0e92ab"
branch_labels = None
depends_on = None
additive = True


def upgrade() -> None:
    op.execute("""
        UPDATE job_tasks SET status = 'failed', error = jsonb_build_object(
            'code',
            coalesce(jobs.error ->> 'code', CASE jobs.status WHEN 'cancelled' THEN 'cancelled' ELSE 'internal' END),
            'message',
            coalesce(jobs.error ->> 'message', 'the job ended before this task was done'))
        FROM jobs WHERE jobs.id = job_tasks.job_id AND jobs.ended_at IS NOT NULL
            AND job_tasks.status IN ('waiting', 'running')
    """)


def downgrade() -> None:
    """The rows are as the version before may have written them, too."""
