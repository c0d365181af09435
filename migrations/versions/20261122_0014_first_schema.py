"""First schema.

Revision ID: be523c81576b
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "be523c81576b"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("role IN ('viewer', 'submitter', 'operator')", name="role_known"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_table(
        "gpu_groups",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("backends", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("worker_token", sa.Uuid(), nullable=False),
        sa.Column("worker_started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("drain_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), server_default="default", nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("spec", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("engine", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("engine_key", sa.Text(), nullable=False),
        sa.Column("plan", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("attempt", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("losses", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("event_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("body_hash", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pause_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_holder", sa.Text(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=True),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("requests_total", sa.BigInteger(), nullable=True),
        sa.Column("requests_done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("requests_reused", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("progress_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("gpu_seconds", sa.Double(), server_default="0", nullable=False),
        sa.Column("rates", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("provenance", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("result_name", sa.Text(), nullable=True),
        sa.Column("result_date", sa.Text(), nullable=True),
        sa.Column("results", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(ended_at IS NOT NULL) = (status IN ('succeeded', 'partially_failed', 'failed', 'cancelled'))",
            name="ended_when_terminal",
        ),
        sa.CheckConstraint(
            "phase IN ('preparing', 'waiting_for_gpu', 'loading', 'evaluating', 'scoring') OR phase IS NULL",
            name="phase_known",
        ),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'paused', 'succeeded', 'partially_failed', 'failed', 'cancelled')",
            name="status_known",
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("team", "owner", "idempotency_key", name="jobs_idempotency"),
    )
    op.create_index(
        "jobs_live",
        "jobs",
        ["status"],
        unique=False,
        postgresql_where=sa.text("status IN ('queued', 'running')"),
    )
    op.create_index(
        "jobs_newest",
        "jobs",
        [sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "jobs_of_team",
        "jobs",
        ["team", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "jobs_unended", "jobs", ["team"], unique=False, postgresql_where=sa.text("ended_at IS NULL")
    )
    op.create_table(
        "log_pieces",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", "number"),
    )
    op.create_table(
        "replicas",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("engine_key", sa.Text(), nullable=False),
        sa.Column("engine", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("devices", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_holder", sa.Text(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sends", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("serving_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("idle_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("release_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("release_reason", sa.Text(), nullable=True),
        sa.Column("requests_done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("tokens_done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cost_done", sa.Double(), server_default="0", nullable=False),
        sa.Column("busy_seconds", sa.Double(), server_default="0", nullable=False),
        sa.Column("provenance", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint(
            "status IN ('placed', 'loading', 'serving', 'released', 'failed', 'lost')", name="status_known"
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("replicas_engine", "replicas", ["engine_key", "placed_at"], unique=False)
    op.create_index(
        "replicas_live",
        "replicas",
        ["group_name"],
        unique=False,
        postgresql_where=sa.text("status IN ('placed', 'loading', 'serving')"),
    )
    op.create_table(
        "responses",
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", "key"),
    )
    op.create_table(
        "chunks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("batch_size", sa.Text(), nullable=False),
        sa.Column("gen_kwargs", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("cost", sa.Double(), nullable=False),
        sa.Column("keys", postgresql.ARRAY(sa.LargeBinary()), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("collected", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("interruptions", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("replica_id", sa.Uuid(), nullable=True),
        sa.Column("token", sa.Uuid(), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint("(status = 'claimed') = (token IS NOT NULL)", name="claimed_under_a_token"),
        sa.CheckConstraint(
            "status IN ('waiting', 'claimed', 'answered', 'failed', 'split', 'cancelled')",
            name="status_known",
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "chunks_claimed",
        "chunks",
        ["replica_id"],
        unique=False,
        postgresql_where=sa.text("status = 'claimed'"),
    )
    op.create_index(
        "chunks_uncollected",
        "chunks",
        ["job_id"],
        unique=False,
        postgresql_where=sa.text("status IN ('answered', 'failed') AND NOT collected"),
    )
    op.create_index(
        "chunks_waiting",
        "chunks",
        ["job_id", "position"],
        unique=False,
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_index(op.f("ix_chunks_job_id"), "chunks", ["job_id"], unique=False)
    op.create_table(
        "devices",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("index", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=True),
        sa.Column("memory_used_bytes", sa.BigInteger(), nullable=True),
        sa.Column("utilization_percent", sa.Double(), nullable=True),
        sa.Column("temperature_celsius", sa.Double(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("replica_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("(state = 'held') = (replica_id IS NOT NULL)", name="held_by_a_replica"),
        sa.CheckConstraint("state IN ('free', 'held', 'dirty', 'drained')", name="state_known"),
        sa.ForeignKeyConstraint(["group_name"], ["gpu_groups.name"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["replica_id"],
            ["replicas.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_devices_group_name"), "devices", ["group_name"], unique=False)
    op.create_table(
        "job_events",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "number"),
    )
    op.create_table(
        "job_tasks",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("metrics", sa.Text(), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint("status IN ('waiting', 'running', 'succeeded', 'failed')", name="status_known"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "name"),
    )
    op.create_index("job_tasks_name", "job_tasks", ["name"], unique=False)
    op.create_table(
        "samples",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("correct", sa.Boolean(), nullable=True),
        sa.Column("row", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "task", "position"),
    )


def downgrade() -> None:
    op.drop_table("samples")
    op.drop_index("job_tasks_name", table_name="job_tasks")
    op.drop_table("job_tasks")
    op.drop_table("job_events")
    op.drop_index(op.f("ix_devices_group_name"), table_name="devices")
    op.drop_table("devices")
    op.drop_index(op.f("ix_chunks_job_id"), table_name="chunks")
    op.drop_index("chunks_waiting", table_name="chunks", postgresql_where=sa.text("status = 'waiting'"))
    op.drop_index(
        "chunks_uncollected",
        table_name="chunks",
        postgresql_where=sa.text("status IN ('answered', 'failed') AND NOT collected"),
    )
    op.drop_index("chunks_claimed", table_name="chunks", postgresql_where=sa.text("status = 'claimed'"))
    op.drop_table("chunks")
    op.drop_table("responses")
    op.drop_index(
        "replicas_live",
        table_name="replicas",
        postgresql_where=sa.text("status IN ('placed', 'loading', 'serving')"),
    )
    op.drop_index("replicas_engine", table_name="replicas")
    op.drop_table("replicas")
    op.drop_table("log_pieces")
    op.drop_index("jobs_unended", table_name="jobs", postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_index("jobs_of_team", table_name="jobs")
    op.drop_index("jobs_newest", table_name="jobs")
    op.drop_index("jobs_live", table_name="jobs", postgresql_where=sa.text("status IN ('queued', 'running')"))
    op.drop_table("jobs")
    op.drop_table("gpu_groups")
    op.drop_table("api_keys")
