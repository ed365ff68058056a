"""Transcripts of visits on the command line: listed, read turn by turn, heard and seen, written on, played again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from studio.commands.options import JSON, opened
from studio.console import columns, emit

if TYPE_CHECKING:
    from db.archive import Archive
    from studio.review import Listed, Review, Wanted

Told = TypeVar("Told")
#: As visits end; ``well`` and ``failed`` are several of them.
_ENDED = ("well", "failed", "left", "moves", "answered", "interrupted", "broken off", "running")
#: What a list tells of a trial where the coder is not blind; JSON has all.
_KNOWN = ("task", "condition", "level", "work", "wording", "arm")
#: Options by which it is narrowed.
_WANTED = ("text", "ended", "tag", "audience", "condition")


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="[FILE]", required=False)
@click.argument("transcript", required=False)
@click.option("--author", default="", metavar="NAME", help="Who looks, or writes.")
@click.option("--text", default="", help="List those in which this stands.")
@click.option("--ended", type=click.Choice(_ENDED), help="List those that ended so.")
@click.option("--tag", default="", help="List those with this tag; with --note: the note's.")
@click.option("--audience", default="", help="List those of this audience, unless you are blind.")
@click.option("--condition", default="", help="List those in this condition, unless you are blind.")
@click.option("--turn", type=click.IntRange(0), help="Show this turn alone; with --note: the note is about it.")
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the sound (WAV) and the pictures (PNG) of each turn, or of --turn alone.",
)
@click.option("--note", metavar="TEXT", help="Write something on TRANSCRIPT.")
@click.option(
    "--kind", type=click.Choice(["fact", "interpretation"]), help="Of --note: what happened, or what it means."
)
@click.option("--unblind", is_flag=True, help="See what is hidden from now on; it is logged.")
@click.option("--yes", is_flag=True, help="Do not ask whether to unblind.")
@click.option("--replay", is_flag=True, help="Does the game give the same observations again?")
@JSON
@click.pass_context
def review(context: click.Context, /, file: Path | None, transcript: str | None, as_json: bool, **given: Any) -> None:
    """Review transcripts: all of a study, or TRANSCRIPT of it, turn by turn; without FILE: all of the archive.

    Coders are blind to audience, condition, arm, work and order until they unblind.
    """
    if file is not None and transcript is None and not file.exists() and file.suffix != ".toml":
        file, transcript = None, str(file)
    with opened(context, create=False) as archive:
        _reviewed(archive, file, transcript, as_json, given)


def _reviewed(
    archive: Archive, file: Path | None, transcript: str | None, as_json: bool, given: dict[str, Any]
) -> None:
    from studio.review import Review, Wanted, seen_text

    review = Review(archive, None if file is None else study_id(archive, file), given["author"])
    if given["unblind"]:
        _unblind(review, given["yes"])
    if transcript is None:
        if given["note"] is not None or given["replay"] or given["save"] or given["turn"] is not None:
            raise click.UsageError("name a TRANSCRIPT: without one they are listed")
        if given["unblind"]:
            return
        _list(review, Wanted(**{name: given[name] or "" for name in _WANTED}), as_json)
        return
    found = review.find(transcript)
    if given["note"] is not None:
        if given["kind"] is None or not given["tag"]:
            raise click.UsageError("--note TEXT needs --kind fact or interpretation, --tag T and --author NAME")
        review.note(found, given["kind"], given["tag"], given["note"], given["turn"])
    elif given["save"] is not None:
        _save(archive, review, found, given["turn"], given["save"], as_json)
    elif given["replay"]:
        _replay(archive, review, found, as_json)
    else:
        seen = _only(review.seen(found), given["turn"])
        emit(seen.to_json() if as_json else seen_text(seen), as_json)


def study_id(archive: Archive, file: Path) -> str:
    """The id of the study in a file, or of one that is named so."""
    if not file.exists():
        return archive.studies.experiment(str(file)).id
    from studio.experiment.design import read
    from studio.experiment.freezing import named_so

    return named_so(archive, file, read(file)).id


def _unblind(review: Review, yes: bool) -> None:
    from studio.experiment.design import StudyError

    if review.experiment is None:
        raise click.UsageError("--unblind needs the FILE of a study: outside studies nothing is hidden")
    if not review.author:
        raise StudyError("--unblind: say who you are: --author NAME")
    line = f"{review.author} will see audiences and conditions, and this is logged for good"
    if not yes and not sys.stdin.isatty():
        raise StudyError(f"{line}: say --yes if that is meant")
    if not yes and not click.confirm(f"{line}. Go on?", err=True):
        raise StudyError(f"{review.author} is still blind")
    review.unblind(review.experiment)
    click.echo(f"{review.author} is unblinded; it is logged", err=True)


def _only(seen: Any, turn: int | None) -> Any:
    from dataclasses import replace

    from studio.experiment.design import StudyError

    if turn is None:
        return seen
    steps = tuple(step for step in seen.steps if step.number == turn)
    if not steps:
        raise StudyError(f"--turn {turn}: allowed are 0 to {len(seen.steps) - 1}")
    return replace(seen, steps=steps)


def _list(review: Review, wanted: Wanted, as_json: bool) -> None:
    from dataclasses import asdict

    from studio.review import HIDDEN

    rows = review.listed(wanted)
    if as_json:
        emit([asdict(row) for row in rows], True)
        return
    if not rows:
        click.echo("no transcript is like that", err=True)
        return
    told = [_line(row) for row in rows]
    needed = {name for row in told for name, value in row.items() if value not in ("", 0, None)}
    needed -= {"study"} if len({row.study for row in rows}) == 1 else set()
    click.echo(columns(told, [name for name in told[0] if name in needed]))
    if blind := sum(row.blind for row in rows):
        to = "" if blind == len(rows) else f" to {blind} of {len(rows)}"
        click.echo(f"you are blind{to}: {HIDDEN} are hidden (--unblind --author NAME)", err=True)
    click.echo(f"{len(rows)} visits; one turn by turn: descant experiment review {rows[0].id[-6:]}", err=True)


def _line(row: Listed) -> dict[str, Any]:
    return {
        "id": row.id,
        "study": row.study,
        "who": row.who,
        **{name: row.known.get(name, "") for name in _KNOWN},
        "words": row.words,
        "turns": row.turns,
        "ended": row.ended,
        "notes": row.notes,
        "tags": " ".join(f"#{tag}" for tag in row.tags),
        "when": row.created[:16].replace("T", " "),
    }


def _save(archive: Archive, review: Review, transcript: str, turn: int | None, folder: Path, as_json: bool) -> None:
    from studio.experiment.design import StudyError
    from studio.retelling import saved

    paths = _again(review, transcript, lambda: saved(archive, transcript, folder, turn))
    if not paths:
        where = "" if turn is None else f" in turn {turn}"
        raise StudyError(f"nothing was heard{where}: there is nothing to write")
    emit([str(path) for path in paths] if as_json else "\n".join(map(str, paths)), as_json)


def _again(review: Review, transcript: str, work: Callable[[], Told]) -> Told:
    """Tell a transcript again; why that cannot be may name what a blind coder must not see."""
    from pieces.errors import DescantError
    from studio.experiment.design import StudyError

    try:
        return work()
    except DescantError as error:
        if review.seen(transcript).listed.blind:
            raise StudyError("it cannot be told again; why is hidden until you unblind") from None
        raise error


def _replay(archive: Archive, review: Review, transcript: str, as_json: bool) -> None:
    from studio.experiment.design import StudyError
    from studio.retelling import retraced, same_code

    told, different = _again(review, transcript, lambda: retraced(archive, transcript))
    why = "" if same_code(archive.visiting.transcript(transcript)) else ": they were told by another version of Descant"
    if as_json:
        emit({"transcript": transcript, "turns": told, "different": different}, True)
    elif not different:
        click.echo(f"{told} turns are the same again")
    else:
        raise StudyError(
            f"transcript {transcript}: turns {', '.join(map(str, different))} of {told} are not the same{why}"
        )
