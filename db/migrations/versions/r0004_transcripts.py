"""What is kept of audiences: transcripts turn by turn, experiments with their trials, what coders write."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """To this revision; visits of before were no part of a game."""
    _experiments()
    _transcripts()
    _annotations()
    with op.batch_alter_table("visits") as visits:
        visits.add_column(sa.Column("transcript_id", sa.String(length=36), nullable=True))
        visits.add_column(sa.Column("room", sa.BigInteger(), nullable=True))
        visits.create_foreign_key(
            "fk_visits_transcript_id", "transcripts", ["transcript_id"], ["id"], ondelete="CASCADE"
        )
        visits.create_index("ix_visits_transcript_id", ["transcript_id"])


def downgrade() -> None:
    """To the one before; transcripts and studies are lost, their visits stay."""
    with op.batch_alter_table("visits") as visits:
        visits.drop_index("ix_visits_transcript_id")
        visits.drop_constraint("fk_visits_transcript_id", type_="foreignkey")
        visits.drop_column("room")
        visits.drop_column("transcript_id")
    for table in ("unblindings", "annotations", "turns", "transcripts", "trials", "deviations", "works", "experiments"):
        op.drop_table(table)


def _experiments() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("design", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_experiments"),
    )
    op.create_index("ix_experiments_hash", "experiments", ["hash"], unique=True)
    op.create_table(
        "works",
        sa.Column("experiment_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("take_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiments.id"], name="fk_works_experiment_id"),
        sa.ForeignKeyConstraint(["take_id"], ["takes.id"], name="fk_works_take_id"),
        sa.PrimaryKeyConstraint("experiment_id", "name", name="pk_works"),
    )
    op.create_index("ix_works_take_id", "works", ["take_id"])
    op.create_table(
        "deviations",
        sa.Column("experiment_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiments.id"], name="fk_deviations_experiment_id"),
        sa.PrimaryKeyConstraint("experiment_id", "number", name="pk_deviations"),
    )
    op.create_table(
        "trials",
        sa.Column("experiment_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column(
            "status", sa.Enum("running", "done", "failed", "excluded", native_enum=False, length=16), nullable=False
        ),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("started", sa.DateTime(), nullable=False),
        sa.Column("ended", sa.DateTime(), nullable=True),
        sa.Column("process", sa.JSON(), nullable=False),
        sa.Column("factors", sa.JSON(), nullable=False),
        sa.Column("outcome", sa.JSON(), nullable=True),
        sa.Column("cost", sa.JSON(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiments.id"], name="fk_trials_experiment_id"),
        sa.PrimaryKeyConstraint("experiment_id", "number", name="pk_trials"),
    )


def _transcripts() -> None:
    op.create_table(
        "transcripts",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("updated", sa.DateTime(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("experiment_id", sa.String(length=36), nullable=True),
        sa.Column("trial", sa.BigInteger(), nullable=True),
        sa.Column("visitor", sa.Text(), nullable=False),
        sa.Column("wording", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("ended", sa.Text(), nullable=True),
        sa.Column("process", sa.JSON(), nullable=False),
        sa.Column("instruction", sa.Text(), nullable=False),
        sa.Column("about", sa.JSON(), nullable=False),
        sa.Column("setting", sa.JSON(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["experiment_id", "trial"], ["trials.experiment_id", "trials.number"], name="fk_transcripts_experiment_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_transcripts"),
    )
    op.create_index("ix_transcripts_experiment_id_trial", "transcripts", ["experiment_id", "trial"])
    running = sa.text("ended IS NULL")
    op.create_index(
        "ix_transcripts_updated", "transcripts", ["updated"], sqlite_where=running, postgresql_where=running
    )
    op.create_table(
        "turns",
        sa.Column("transcript_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("room", sa.BigInteger(), nullable=True),
        sa.Column("first", sa.BigInteger(), nullable=True),
        sa.Column("count", sa.BigInteger(), nullable=True),
        sa.Column("budget", sa.Double(), nullable=False),
        sa.Column("reward", sa.Double(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("observation", sa.Text(), nullable=False),
        sa.Column("decisions", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["transcript_id"], ["transcripts.id"], name="fk_turns_transcript_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("transcript_id", "number", name="pk_turns"),
    )


def _annotations() -> None:
    op.create_table(
        "annotations",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("transcript_id", sa.String(length=36), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("withdrawn", sa.DateTime(), nullable=True),
        sa.Column("kind", sa.Enum("fact", "interpretation", native_enum=False, length=16), nullable=False),
        sa.Column("blind", sa.Boolean(), nullable=False),
        sa.Column("tag", sa.String(length=255), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["transcript_id"], ["transcripts.id"], name="fk_annotations_transcript_id"),
        sa.ForeignKeyConstraint(
            ["transcript_id", "turn"], ["turns.transcript_id", "turns.number"], name="fk_annotations_turn"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_annotations"),
    )
    op.create_index("ix_annotations_tag_id", "annotations", ["tag", "id"])
    op.create_index("ix_annotations_transcript_id_turn", "annotations", ["transcript_id", "turn"])
    op.create_table(
        "unblindings",
        sa.Column("experiment_id", sa.String(length=36), nullable=False),
        sa.Column("coder", sa.String(length=255), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiments.id"], name="fk_unblindings_experiment_id"),
        sa.PrimaryKeyConstraint("experiment_id", "coder", name="pk_unblindings"),
    )
