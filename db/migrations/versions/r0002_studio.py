"""What the studio keeps: labels and tags of takes, sessions with their edits, showings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """To this revision."""
    op.create_index("ix_takes_id_piece_name_status_retention", "takes", ["id", "piece_name", "status", "retention"])
    _labels()
    _sessions()
    _showings()


def downgrade() -> None:
    """To the one before; what the studio kept is lost."""
    for table in ("showings", "edits", "sessions", "tags", "labels"):
        op.drop_table(table)
    op.drop_index("ix_takes_id_piece_name_status_retention", "takes")


def _labels() -> None:
    op.create_table(
        "labels",
        sa.Column("take_id", sa.String(length=36), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("rating", sa.BigInteger(), nullable=True),
        sa.Column("words", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["take_id"], ["takes.id"], name="fk_labels_take_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("take_id", name="pk_labels"),
    )
    op.create_table(
        "tags",
        sa.Column("take_id", sa.String(length=36), nullable=False),
        sa.Column("tag", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["take_id"], ["takes.id"], name="fk_tags_take_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("take_id", "tag", name="pk_tags"),
    )
    op.create_index("ix_tags_tag_take_id", "tags", ["tag", "take_id"])


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("updated", sa.DateTime(), nullable=False),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=True),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.BigInteger(), nullable=False),
        sa.Column("tip", sa.BigInteger(), nullable=False),
        sa.Column("take_id", sa.String(length=36), nullable=True),
        sa.Column("process", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["take_id"], ["takes.id"], name="fk_sessions_take_id", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
    )
    op.create_index("ix_sessions_closed_updated", "sessions", ["closed", "updated"])
    op.create_index("ix_sessions_take_id", "sessions", ["take_id"])
    op.create_table(
        "edits",
        sa.Column("session_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("parent", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("piece", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name="fk_edits_session_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("session_id", "number", name="pk_edits"),
    )


def _showings() -> None:
    op.create_table(
        "showings",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("programme", sa.Text(), nullable=False),
        sa.Column("item", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("position", sa.Double(), nullable=False),
        sa.Column("started", sa.DateTime(), nullable=False),
        sa.Column("updated", sa.DateTime(), nullable=False),
        sa.Column("ended", sa.DateTime(), nullable=True),
        sa.Column(
            "outcome", sa.Enum("done", "skipped", "failed", "stopped", native_enum=False, length=16), nullable=True
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("take_id", sa.String(length=36), nullable=True),
        sa.ForeignKeyConstraint(["take_id"], ["takes.id"], name="fk_showings_take_id", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_showings"),
    )
    op.create_index("ix_showings_programme_id", "showings", ["programme", "id"])
    op.create_index("ix_showings_take_id", "showings", ["take_id"])
