"""Studies: how large, frozen, run, reported, and their transcripts reviewed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from studio.commands.options import JSON, QUIET, Finite, opened
from studio.console import Bar, columns, emit, table

if TYPE_CHECKING:
    from db.archive import Archive
    from studio.experiment.design import Design
    from studio.experiment.power import Power, Size
    from studio.review import Review

FILE = click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
#: Rates for which the power of a study is shown.
RATES = (0.55, 0.6, 0.65, 0.7, 0.75, 0.8)
#: What a report can be.
FORMATS = ("html", "md", "jsonl", "csv", "parquet")
#: Cells of a bar.
_CELLS = 32


@click.group()
def experiment() -> None:
    """Studies with audiences: how large, freeze, run, report, review. FILE is a study in TOML."""


@experiment.command()
@FILE
@click.option("--outcome", metavar="ID", help="Which outcome; default: the first primary one.")
@click.option("--rate", type=Finite(0.01, 0.99), default=0.65, show_default=True, help="Of choosing the target.")
@click.option("--power", "wanted", type=Finite(0.5, 0.99), default=0.8, show_default=True, help="The power wanted.")
@click.option(
    "--grow",
    type=click.Choice(["pairs", "repeats", "models", "wordings"]),
    default="pairs",
    show_default=True,
    help="What is made more until the power is reached.",
)
@click.option("--most", type=click.IntRange(2, 2000), default=64, show_default=True, help="How far it may grow.")
@click.option("--experiments", type=click.IntRange(20, 100_000), default=400, show_default=True, help="Simulated.")
@QUIET
@JSON
def power(
    file: Path,
    outcome: str | None,
    rate: float,
    wanted: float,
    grow: Literal["pairs", "repeats", "models", "wordings"],
    most: int,
    experiments: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """How often a study of this size would show what it is to show; and how large it must be.

    Whole experiments are simulated, and analysed as the study's will be.
    """
    import numpy as np

    from studio.experiment.crossed import StatisticsError
    from studio.experiment.design import read
    from studio.experiment.inference import Method
    from studio.experiment.power import Claim, smallest
    from studio.experiment.power import power as simulated

    design = read(file)
    outcome = _outcome(design, outcome)
    size, probe = _size(design, outcome), outcome.partition("/")[2] in ("as is", "blind")
    claim = Claim("equivalent", margin=design.analysis.margin) if probe else Claim()
    how: dict[str, Any] = {"claim": claim, "method": Method(level=design.analysis.level), "experiments": experiments}
    with Bar(quiet or as_json) as bar:
        rates = (0.5,) if probe else RATES
        found = [(r, simulated(size, r, np.random.default_rng(design.seed), progress=bar, **how)) for r in rates]
        need: Power | None = None
        problem = ""
        try:
            need = smallest(
                *(size, 0.5 if probe else rate, np.random.default_rng(design.seed)),
                **{**how, "grow": grow, "wanted": wanted, "most": most, "progress": bar},
            )
        except StatisticsError as error:
            problem = str(error)
    if as_json:
        rows = [{"rate": r, **_powered(p)} for r, p in found]
        emit({"outcome": outcome, "design": rows, "needed": need and _powered(need), "problem": problem}, True)
        return
    click.echo(_power_text(outcome, size, found, wanted, probe, design.analysis.margin))
    click.echo("")
    click.echo(_need_text(need, problem, 0.5 if probe else rate, wanted, grow))


def _outcome(design: Design, outcome: str | None) -> str:
    from pieces.source import nearest
    from studio.experiment.design import StudyError

    choices = [one for one in design.outcomes if one.partition("/")[0] in ("prefer", "same", "mirror", "steer")]
    if outcome is None:
        outcome = next((one for one in design.analysis.primary if one in choices), design.analysis.primary[0])
    if outcome not in choices:
        raise StudyError(f"--outcome {outcome!r}: no choice of the study is called so{nearest(outcome, choices)}")
    return outcome


def _size(design: Design, outcome: str) -> Size:
    """A design in numbers: how often every model is asked about every work in every wording."""
    from studio.experiment.power import Size
    from studio.experiment.trials import trials

    models, pairs, wordings = len(design.audiences), max(1, len(design.works)), len(design.wordings)
    asked = sum(trial.outcome == outcome for trial in trials(design))
    return Size(models, pairs, wordings, max(1, asked // (models * pairs * wordings)))


def _powered(one: Power) -> dict[str, Any]:
    size = one.size
    numbers = {"models": size.models, "pairs": size.pairs, "wordings": size.wordings, "repeats": size.repeats}
    told = {"power": one.value, "low": one.low, "high": one.high, "width": one.width, "experiments": one.experiments}
    return {**numbers, "trials": size.trials, **told}


def _sized(size: Size) -> str:
    return (
        f"{size.models} models x {size.pairs} works x {size.wordings} wordings x {size.repeats} times "
        f"= {size.trials} trials"
    )


def _power_text(
    outcome: str, size: Size, found: list[tuple[float, Power]], wanted: float, probe: bool, margin: float
) -> str:
    """A table whose last column is a plot: the bar is the power, the mark is the power wanted."""
    shows = f"within {margin:g} of chance" if probe else "above chance by its interval"
    rows = [["rate", "power", "95 % interval", "", f"wanted: {wanted:g}"]]
    for rate, one in found:
        rows.append([f"{rate:.2f}", f"{one.value:.2f}", f"{one.low:.2f} to {one.high:.2f}", _plot(one, wanted), ""])
    lines = table([[row[0], row[1], row[2]] for row in rows])
    plots = [" " * round(wanted * _CELLS) + f"┆ {wanted:g}", *(row[3] for row in rows[1:])]
    both = [f"{line:<{max(map(len, lines))}}  {plot}".rstrip() for line, plot in zip(lines, plots, strict=True)]
    return "\n".join([f"{outcome}: {shows}", _sized(size), "", *both])


def _plot(one: Power, wanted: float) -> str:
    """The power as a bar, its interval behind it, and a mark where it should be."""
    from studio.review import bar

    cells = list(f"{bar(one.value, _CELLS):<{_CELLS + 1}}")
    for at in range(round(one.low * _CELLS), round(one.high * _CELLS) + 1):
        if at < len(cells) and cells[at] == " ":
            cells[at] = "─"
    mark = round(wanted * _CELLS)
    if cells[mark] in " ─":
        cells[mark] = "┆"
    return "".join(cells)


def _need_text(need: Power | None, problem: str, rate: float, wanted: float, grow: str) -> str:
    if need is None:
        return f"for a power of {wanted:g} at a rate of {rate:g}: {problem}"
    found = f"{need.value:.2f} ({need.low:.2f} to {need.high:.2f})"
    more = {"pairs": "works"}.get(grow, grow)
    return (
        f"for a power of {wanted:g} at a rate of {rate:g}: {getattr(need.size, grow)} {more}\n"
        f"  {_sized(need.size)}, power {found}, intervals {need.width:.2f} wide"
    )


@experiment.command()
@FILE
@JSON
@click.pass_context
def freeze(context: click.Context, file: Path, as_json: bool) -> None:
    """Write down what the study is before it runs; prints its hash, and what it covers."""
    from studio.experiment.design import read
    from studio.experiment.freezing import freeze as frozen
    from studio.experiment.trials import trials

    with opened(context) as archive:
        record = frozen(archive, file)
    design = read(file)
    count = len(trials(design))
    covers = {
        "question": design.question,
        "hypotheses": dict(design.hypotheses),
        "primary": list(design.analysis.primary),
        "exploratory": [one for one in design.outcomes if one not in design.analysis.primary],
        "exclusions": design.exclusions.model_dump(exclude_none=True),
        "stopping": design.stopping.model_dump(exclude_none=True),
        "budget": design.budget.model_dump(exclude_none=True, exclude={"workers"}),
        "audiences": [audience.name for audience in design.audiences],
        "works": [work.name for work in design.works],
        "wordings": list(design.wordings),
        "arms": list(design.arms),
        "trials": count,
        "files": dict(record.files),
    }
    told = {"id": record.id, "name": record.name, "hash": record.hash, "frozen": record.created, "covers": covers}
    if as_json:
        emit(told, True)
        return
    rows = [[name, str(told[name])] for name in ("hash", "id", "name", "frozen")]
    rows += [[name, _covered(value)] for name, value in covers.items() if value]
    click.echo("\n".join(table(rows)))


def _covered(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {v}" if isinstance(v, str) else f"{name} = {v:g}" for name, v in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


@experiment.command()
@FILE
@click.option("--workers", type=click.IntRange(1, 64), help="Processes; default: as the study says.")
@click.option("--again", is_flag=True, help="Try the trials again that failed.")
@click.option("--deviation", metavar="TEXT", help="Why it goes on with a changed file; it is logged, with --author.")
@click.option("--author", metavar="NAME", help="Who says so.")
@QUIET
@JSON
@click.pass_context
def run(
    context: click.Context,
    file: Path,
    workers: int | None,
    again: bool,
    deviation: str | None,
    author: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run a frozen study, or go on with it. Ctrl-C stops it; what is done is kept, and it goes on when run again."""
    from studio.config import archive_place
    from studio.experiment.freezing import deviate
    from studio.experiment.running import run as ran

    if (deviation is None) != (author is None):
        raise click.UsageError("--deviation TEXT and --author NAME go together: who says why?")
    with opened(context, create=False) as archive:
        if deviation is not None and author is not None:
            click.echo(f"deviation {deviate(archive, file, author, deviation)} is logged", err=True)
    try:
        with Bar(quiet or as_json) as bar:
            done = ran(archive_place(context.obj), file, workers, bar, again)
    except KeyboardInterrupt:
        raise click.ClickException(f"stopped; trials that are done are kept: descant experiment run {file}") from None
    if as_json:
        emit({**vars(done)}, True)
        return
    click.echo(f"{done.done} done, {done.failed} failed, {done.left} left")
    if done.stopped:
        click.echo(f"stopped: {done.stopped}", err=True)


@experiment.command()
@FILE
@click.option("--out", type=click.Path(path_type=Path), default=Path("report"), show_default=True, metavar="DIR")
@click.option(
    "--format",
    "formats",
    default="html,md",
    show_default=True,
    metavar="LIST",
    help="html,md (written together), jsonl,csv,parquet (trials, turns, estimates).",
)
@JSON
@click.pass_context
def report(context: click.Context, file: Path, out: Path, formats: str, as_json: bool) -> None:
    """Analyse what came of a study, and write a report with its plots, and its data; prints the files."""
    wanted = [one.strip() for one in formats.split(",") if one.strip()]
    if unknown := [one for one in wanted if one not in FORMATS] or ([] if wanted else [formats]):
        raise click.UsageError(f"--format {unknown[0]!r}: allowed are {', '.join(FORMATS)}")
    from studio.experiment.analysis import analysed
    from studio.experiment.exporting import export
    from studio.experiment.report import write
    from studio.experiment.sample import gathered

    with opened(context, create=False) as archive:
        study = _study(archive, file)
        results = analysed(gathered(archive, study))
        written = write(results, out) if {"html", "md"} & {*wanted} else []
        data: Any = [one for one in wanted if one not in ("html", "md")]
        written += export(archive, study, out, data, results) if data else []
    emit([str(path) for path in written] if as_json else "\n".join(map(str, written)), as_json)


@experiment.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="[FILE]", required=False)
@click.argument("transcript", required=False)
@click.option("--author", default="", metavar="NAME", help="Who looks, or writes.")
@click.option("--text", default="", help="List those in which this stands.")
@click.option("--ended", type=click.Choice(["left", "moves", "answered", "interrupted", "broken off"]))
@click.option("--tag", default="", help="List those with this tag; with --note: the note's.")
@click.option("--audience", default="", help="List those of this audience, unless you are blind.")
@click.option("--condition", default="", help="List those in this condition, unless you are blind.")
@click.option("--turn", type=click.IntRange(0), help="Show this turn alone; with --note: the note is about it.")
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

    review = Review(archive, None if file is None else _study(archive, file), given["author"])
    if given["unblind"]:
        _unblind(review, given["yes"])
    if transcript is None:
        if given["note"] is not None or given["replay"]:
            raise click.UsageError("name a TRANSCRIPT: without one they are listed")
        if given["unblind"]:
            return
        wanted = Wanted(*(given[name] for name in ("text", "ended", "tag", "audience", "condition")))
        _list(review, wanted, as_json)
        return
    found = review.find(transcript)
    if given["note"] is not None:
        if given["kind"] is None or not given["tag"]:
            raise click.UsageError("--note TEXT needs --kind fact or interpretation, --tag T and --author NAME")
        review.note(found, given["kind"], given["tag"], given["note"], given["turn"])
    elif given["replay"]:
        _replay(archive, review, found, as_json)
    else:
        seen = _only(review.seen(found), given["turn"])
        emit(seen.to_json() if as_json else seen_text(seen), as_json)


def _study(archive: Archive, file: Path) -> str:
    """The id of the study in a file, or of one that is named so."""
    if not file.exists():
        return archive.studies.experiment(str(file)).id
    from studio.experiment.design import read

    return archive.studies.experiment(read(file).name).id


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


def _list(review: Review, wanted: Any, as_json: bool) -> None:
    from dataclasses import asdict

    rows = review.listed(wanted)
    if as_json:
        emit([asdict(row) for row in rows], True)
        return
    if not rows:
        click.echo("no transcript is like that", err=True)
        return
    told = [
        {
            "id": r.id,
            "words": r.words,
            "turns": r.turns,
            "ended": r.ended,
            "notes": r.notes,
            "tags": " ".join(f"#{t}" for t in r.tags),
            **r.known,
        }
        for r in rows
    ]
    names = list(
        dict.fromkeys(name for row in told for name in row if any(r.get(name) not in ("", None) for r in told))
    )
    click.echo(columns(told, names))
    if any(row.blind for row in rows):
        click.echo(
            "you are blind: audience, model, condition, work and order are hidden (--unblind --author NAME)", err=True
        )


def _replay(archive: Archive, review: Review, transcript: str, as_json: bool) -> None:
    from pieces.errors import DescantError
    from studio.experiment.design import StudyError
    from studio.retelling import retraced

    try:
        told, different = retraced(archive, transcript)
    except DescantError as error:
        if review.seen(transcript).listed.blind:
            raise StudyError("it cannot be told again; why is hidden until you unblind") from None
        raise error
    if as_json:
        emit({"transcript": transcript, "turns": told, "different": different}, True)
    elif not different:
        click.echo(f"{told} turns are the same again")
    else:
        raise StudyError(f"transcript {transcript}: turns {', '.join(map(str, different))} of {told} are not the same")
