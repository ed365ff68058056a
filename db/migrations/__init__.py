"""The archive's revisions, run by `db.database`. Alembic itself is imported only when there is something to run.

The next one: change `db.models`, run ``python -m db.migrations "what changes"`` in a checkout, read what came out, and
add its id to `REVISIONS`.
"""

#: All revisions, oldest first.
REVISIONS: tuple[str, ...] = ("0001", "0002", "0003", "0004")
#: Name of Alembic's own table: its usual name would make any program's database look like an archive.
VERSION_TABLE = "descant_version"
