"""Alembic's entrance: runs the revisions on a connection that `db.database` hands over, in its transaction."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from db.migrations import VERSION_TABLE
from db.models import Base


def run(connection: Connection) -> None:
    """Run what Alembic was asked for."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        version_table=VERSION_TABLE,
        render_as_batch=True,  # SQLite alters a table by copying it
    )
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
