"""Events of all jobs in one order, which every reader sees alike.

A serial is drawn from a sequence as its event is written, so that writers never wait for each other; but they commit in
another order than they drew. Before its first serial a transaction therefore takes a shared advisory lock that carries
the last serial drawn before: what it draws is greater. `settled_event_serials` reads the sequence, then those locks:
whatever is not above the least of them is committed, or was rolled back for good.
The first half of such a lock is 0x6576616c, "eval"; the other has the last 31 bits of the serial. One that seems half
of all those away was taken after the sequence was read: it holds nobody up.

Revision ID: 4b8e17d2f9a3
Revises: 3d7f20b8c64e
"""

import sqlalchemy as sa
from alembic import op

revision = "4b8e17d2f9a3"
down_revision = "3d7f20b8c64e"
branch_labels = None
depends_on = None

additive = True  # those of the version before draw serials, too: the column's default does

SEQUENCE = "CREATE SEQUENCE job_event_serials"

NEXT = """
CREATE FUNCTION next_event_serial() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('evalq.draws_serials', true), '') = '' THEN
        PERFORM pg_advisory_xact_lock_shared(1702257004,
            ((last_value - (NOT is_called)::int) & 2147483647)::int) FROM job_event_serials;
        PERFORM set_config('evalq.draws_serials', 'yes', true);
    END IF;
    RETURN nextval('job_event_serials');
END $$"""

SETTLED = """
CREATE FUNCTION settled_event_serials(OUT settled bigint, OUT drawn bigint) LANGUAGE plpgsql AS $$
BEGIN
    SELECT last_value - (NOT is_called)::int INTO drawn FROM job_event_serials;
    SELECT drawn - coalesce(max(open), 0) INTO settled FROM (
        SELECT (drawn - objid::bigint) & 2147483647 AS open FROM pg_locks
        WHERE locktype = 'advisory' AND classid = 1702257004 AND objsubid = 2
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) AS writers WHERE open < 1073741824;
END $$"""


def upgrade() -> None:
    for statement in (SEQUENCE, NEXT, SETTLED):
        op.execute(statement)
    op.add_column("job_events", sa.Column("serial", sa.BigInteger()))
    op.alter_column("job_events", "serial", server_default=sa.text("next_event_serial()"))
    op.create_index(
        "job_events_serial",
        "job_events",
        ["serial"],
        unique=True,
        postgresql_where=sa.text("serial IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_column("job_events", "serial")
    op.execute("DROP FUNCTION settled_event_serials()")
    op.execute("DROP FUNCTION next_event_serial()")
    op.execute("DROP SEQUENCE job_event_serials")
