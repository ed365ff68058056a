"""What the takes of a session come from is kept with it: one that was interrupted goes on as their child."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """To this revision; sessions of before came from nothing that is known."""
    op.add_column("sessions", sa.Column("parents", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    """To the one before; what sessions came from is lost."""
    op.drop_column("sessions", "parents")
