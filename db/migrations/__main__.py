"""Writes the next revision: what the models have and an archive of the newest revision has not."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from alembic import command

from db.database import Database, alembic_config
from db.migrations import REVISIONS


def main(message: str) -> None:
    """Write ``versions/r<revision>_<message>.py``."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder) / "archive.db")
        database.migrate()
        with database.write() as session:
            revision = f"{len(REVISIONS) + 1:04}"
            command.revision(alembic_config(session.connection()), message, autogenerate=True, rev_id=revision)
        database.engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1])
