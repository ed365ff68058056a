"""The first revision: the archive's id, takes, parts, blocks, events, media, lineage, visits, proposals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from uuid_utils import uuid7

revision: str = "0001"
down_revision: str | None = None
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """To this revision."""
    identity = op.create_table(
        "archive",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_archive"),
    )
    op.bulk_insert(identity, [{"id": str(uuid7())}])
    _media_and_proposals()
    _takes()
    _blocks()
    _lineage_and_files()
    _visits()


def downgrade() -> None:
    """To an empty database."""
    own = ("visits", "take_media", "take_parents", "events", "blocks", "parts")
    for table in (*own, "takes", "proposals", "media", "archive"):
        op.drop_table(table)


def _media_and_proposals() -> None:
    op.create_table(
        "media",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("suffix", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_media"),
    )
    op.create_table(
        "proposals",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("steerer", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("round", sa.BigInteger(), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("point", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("parents", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_proposals"),
    )


def _takes() -> None:
    op.create_table(
        "takes",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("piece_name", sa.Text(), nullable=False),
        sa.Column(
            "status", sa.Enum("running", "done", "interrupted", "failed", native_enum=False, length=16), nullable=False
        ),
        sa.Column("retention", sa.Enum("kept", "scratch", native_enum=False, length=16), nullable=False),
        sa.Column("origin", sa.Enum("generated", "captured", native_enum=False, length=16), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("updated", sa.DateTime(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("duration_s", sa.Double(), nullable=True),
        sa.Column("threads", sa.BigInteger(), nullable=False),
        sa.Column("piece_hash", sa.String(length=64), nullable=False),
        sa.Column("signals_hash", sa.String(length=64), nullable=True),
        sa.Column("proposal_id", sa.String(length=36), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("process", sa.JSON(), nullable=False),
        sa.Column("render", sa.JSON(), nullable=True),
        sa.Column("controls", sa.JSON(), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("platform", sa.JSON(), nullable=False),
        sa.Column("piece", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["proposal_id"], ["proposals.id"], name="fk_takes_proposal_id"),
        sa.PrimaryKeyConstraint("id", name="pk_takes"),
    )
    op.create_index("ix_takes_piece_name_id", "takes", ["piece_name", "id"])
    op.create_index("ix_takes_status_id", "takes", ["status", "id"])
    op.create_table(
        "parts",
        sa.Column("take_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("rate", sa.Double(), nullable=False),
        sa.Column("ticks", sa.BigInteger(), nullable=False),
        sa.Column("signals_hash", sa.String(length=64), nullable=True),
        sa.Column("channels", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["take_id"], ["takes.id"], name="fk_parts_take_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("take_id", "number", name="pk_parts"),
    )


def _blocks() -> None:
    op.create_table(
        "blocks",
        sa.Column("take_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.BigInteger(), nullable=False),
        sa.Column("first_tick", sa.BigInteger(), nullable=False),
        sa.Column("ticks", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("arrays", sa.String(length=64), nullable=True),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["arrays"], ["media.sha256"], name="fk_blocks_arrays"),
        sa.ForeignKeyConstraint(
            ["take_id", "part"], ["parts.take_id", "parts.number"], name="fk_blocks_take_id_part", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("take_id", "number", name="pk_blocks"),
    )
    op.create_index("ix_blocks_take_id_part_number", "blocks", ["take_id", "part", "number"])
    arrays = sa.text("arrays IS NOT NULL")
    op.create_index("ix_blocks_arrays", "blocks", ["arrays"], sqlite_where=arrays, postgresql_where=arrays)
    op.create_table(
        "events",
        sa.Column("take_id", sa.String(length=36), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("tick", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("given", sa.Boolean(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["take_id", "block"],
            ["blocks.take_id", "blocks.number"],
            name="fk_events_take_id_block",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("take_id", "block", "number", name="pk_events"),
    )
    op.create_index("ix_events_take_id_kind", "events", ["take_id", "kind"])


def _lineage_and_files() -> None:
    op.create_table(
        "take_parents",
        sa.Column("take_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("parent_id", sa.String(length=36), nullable=False),
        sa.Column("tick", sa.BigInteger(), nullable=True),
        sa.Column("relation", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["parent_id"], ["takes.id"], name="fk_take_parents_parent_id"),
        sa.ForeignKeyConstraint(["take_id"], ["takes.id"], name="fk_take_parents_take_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("take_id", "number", name="pk_take_parents"),
    )
    op.create_index("ix_take_parents_parent_id", "take_parents", ["parent_id"])
    op.create_table(
        "take_media",
        sa.Column("take_id", sa.String(length=36), nullable=False),
        sa.Column("role", sa.String(length=255), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["sha256"], ["media.sha256"], name="fk_take_media_sha256"),
        sa.ForeignKeyConstraint(["take_id"], ["takes.id"], name="fk_take_media_take_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("take_id", "role", name="pk_take_media"),
    )
    op.create_index("ix_take_media_sha256", "take_media", ["sha256"])


def _visits() -> None:
    op.create_table(
        "visits",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("take_id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("visitor", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("progress", sa.Double(), nullable=True),
        sa.Column("rating", sa.Double(), nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("rows", sa.JSON(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["take_id"], ["takes.id"], name="fk_visits_take_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_visits"),
    )
    op.create_index("ix_visits_take_id", "visits", ["take_id"])
