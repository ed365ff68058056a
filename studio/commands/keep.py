"""Keeping house: the archive, the machine."""

from __future__ import annotations

import click

from studio.commands.options import JSON, Finite, opened
from studio.config import SCRATCH_DAYS, SCRATCH_GB
from studio.console import columns, emit


@click.group("archive", invoke_without_command=True)
@click.pass_context
def archive_group(context: click.Context) -> None:
    """Look after the archive."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@archive_group.command("check")
@JSON
@click.pass_context
def archive_check(context: click.Context, as_json: bool) -> None:
    """Verify every block, hash and file; mark takes whose process is gone."""
    with opened(context, create=False) as archive:
        report = archive.check()
    emit(report.to_json() if as_json else str(report), as_json)
    if report.problems:
        context.exit(1)


@archive_group.command("upgrade")
@click.pass_context
def archive_upgrade(context: click.Context) -> None:
    """Bring an older archive to this version."""
    from db.archive import Archive
    from studio.config import archive_place

    click.echo(Archive.upgrade(archive_place(context.obj)))


@archive_group.command("gc")
@click.option("--scratch-days", type=Finite(0, 36_500), default=SCRATCH_DAYS, show_default=True, help="Oldest scratch.")
@click.option(
    "--scratch-gb", type=Finite(0, 1e6), default=SCRATCH_GB, show_default=True, help="Room for scratch takes."
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@JSON
@click.pass_context
def archive_gc(context: click.Context, scratch_days: float, scratch_gb: float, dry_run: bool, as_json: bool) -> None:
    """Remove old scratch takes and files that no take refers to; kept takes are never touched.

    Sessions that were closed so long ago, and records of what was shown, go with them. The studio and exhibitions do
    this by themselves, with these defaults, when they begin.
    """
    with opened(context, create=False) as archive:
        report = archive.gc(scratch_age_days=scratch_days, scratch_quota_bytes=int(scratch_gb * 1e9), dry_run=dry_run)
    emit(report.to_json() if as_json else str(report), as_json)


@click.command()
@JSON
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Say what works on this machine and what does not."""
    from studio.doctor import examine

    findings = examine(context.obj)
    emit(findings if as_json else columns(findings, ["ok", "what", "found"]), as_json)
    if any(f["ok"] == "no" for f in findings):
        context.exit(1)
