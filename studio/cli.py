"""The command line: every action of the studio as a verb. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

import click

from studio.commands import attend, browse, exhibit, experiment, keep, live, make, mark, mind, use
from studio.console import complain, explained


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--archive", metavar="PATH_OR_URL", help="Another archive than the one in the data directory.")
@click.version_option(package_name="descant")
@click.pass_context
def descant(context: click.Context, archive: str | None) -> None:
    """Art made from the inside of neural networks, for people and for machine audiences.

    Without a command it opens the studio.
    """
    context.obj = archive
    if context.invoked_subcommand is None:
        from studio.launch import launch

        sys.exit(launch(archive))


_VERBS = (
    (browse.sources, browse.pieces, browse.instruments, browse.takes, browse.show, browse.keymap),
    (make.compose, make.listen, make.resume, live.perform, exhibit.exhibit),
    (attend.attend, attend.steer, experiment.experiment),
    (use.play, use.replay, use.export),
    (mark.tag, mark.rename, mark.rate, mark.note, mark.keep, mark.discard),
    (mind.mind,),
    (keep.archive_group, keep.doctor),
)
for verb in (verb for group in _VERBS for verb in group):
    descant.add_command(verb)


def _stopped(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point: one line for every error, never a bare traceback (``DESCANT_DEBUG=1`` shows it)."""
    signal.signal(signal.SIGTERM, _stopped)
    try:
        sys.exit(descant.main(standalone_mode=False))
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and error.ctx is not None:
            click.echo(error.ctx.get_usage(), err=True)
        _fail(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, click.Abort) as error:
        _fail(explained(error), 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except Exception as error:
        _fail(explained(error), 1, error)


def _fail(line: str, code: int, error: BaseException | None = None) -> None:
    if error is not None and os.environ.get("DESCANT_DEBUG"):
        raise error
    complain(line)
    sys.exit(code)
