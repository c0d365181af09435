"""Which schema the database is at, and which versions' code can work with it.

A migration that only adds (`additive = True` in its file: the code before it goes on working) leaves a note on
alembic's own table: the revisions whose code may use this schema. So an old worker that starts again after
`evalq migrate` knows what it could not know by itself: that the newer schema is still its own.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.engine import Connection

import migrations
from app.errors import OldSchemaError

if TYPE_CHECKING:  # alembic is large, and needed only where the schema is not the newest
    from alembic.script import ScriptDirectory

APPLICATION = "evalq"
"""How evalq's connections call themselves to the server."""

FOLDER = Path(migrations.__file__).parent

_REVISION = re.compile(r'^(down_)?revision = "(\w+)"$', re.MULTILINE)
_NOTE = "SELECT obj_description(to_regclass('alembic_version'), 'pg_class')"


def newest_revision() -> str:
    """The migration of this version that no other one follows."""
    told = [
        found for file in (FOLDER / "versions").glob("*.py") for found in _REVISION.findall(file.read_text())
    ]
    head: str
    [head] = {name for down, name in told if not down} - {name for down, name in told if down}
    return head


def current_revision(connection: Connection) -> str | None:
    """The schema that the database is at; None where it has none."""
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return version


def check_revision(connection: Connection, scripts: ScriptDirectory) -> None:
    """OldSchemaError where migrations are missing, or where this code is too old for the database."""
    wanted = scripts.get_current_head()
    found = current_revision(connection)
    if found == wanted or wanted in _noted(connection, found):
        return
    if found is None or _knows(scripts, found):
        raise OldSchemaError(
            f"the database is at schema {found}, this version needs {wanted}: run `evalq migrate`"
        )
    raise OldSchemaError(
        f"a newer evalq has migrated this database to schema {found}, and this version needs {wanted}: upgrade it"
    )


def note_usable_by(connection: Connection, scripts: ScriptDirectory, head: str | None) -> None:
    """Write down, in a migration's own transaction, whose code may use the schema it leaves."""
    note = json.dumps({"schema": head, "usable_by": usable_by(scripts, head)})
    connection.execute(text(f"COMMENT ON TABLE alembic_version IS '{note}'"))  # COMMENT takes no parameters


def usable_by(scripts: ScriptDirectory, head: str | None) -> list[str]:
    """`head` and the revisions before it, as long as each next one only added."""
    found: list[str] = []
    while head is not None:
        script = scripts.get_revision(head)
        found.append(head)
        head = _parent(script) if getattr(script.module, "additive", False) else None
    return found


def breaking(connection: Connection, scripts: ScriptDirectory) -> list[str]:
    """Missing migrations with which running code of the version before cannot go on."""
    found = current_revision(connection)
    if found is None or not _knows(scripts, found):
        return []
    missing = scripts.iterate_revisions(scripts.get_current_head(), found)
    return [script.revision for script in missing if not getattr(script.module, "additive", False)]


def others_connected(connection: Connection) -> int:
    """Connections of evalq's processes to this database, but for this one."""
    query = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = :name AND pid <> pg_backend_pid()"""
    return int(connection.scalar(text(query), {"name": APPLICATION}) or 0)


def _noted(connection: Connection, found: str | None) -> list[str]:
    """What was noted of the schema that was found; nothing where the note is of another."""
    note = json.loads(connection.scalar(text(_NOTE)) or "{}")
    return list(note["usable_by"]) if note.get("schema") == found and found else []


def _knows(scripts: ScriptDirectory, revision: str) -> bool:
    return revision in {script.revision for script in scripts.walk_revisions()}


def _parent(script: Any) -> str | None:
    parent = script.down_revision
    return parent if isinstance(parent, str) else None
