"""Studies: how large, frozen, run, reported, and their transcripts reviewed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from studio.commands.options import JSON, QUIET, Finite, opened
from studio.commands.review import review, study_id
from studio.console import Bar, emit, table

if TYPE_CHECKING:
    from db.audience import ExperimentRecord
    from studio.experiment.design import Design
    from studio.experiment.power import Planned, Power, Size

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
    multiple=True,
    default=("pairs",),
    show_default=True,
    help="What is made more until the power is reached (pairs: works or runs); twice, for two things together.",
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
    grow: tuple[Literal["pairs", "repeats", "models", "wordings"], ...],
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
    from studio.experiment.power import planned, smallest
    from studio.experiment.power import power as simulated

    design = read(file)
    outcome = _outcome(design, outcome)
    asked = planned(design, outcome)
    size, claim = asked.size, asked.claim
    probe = claim.kind == "equivalent"
    how: dict[str, Any] = {"claim": claim, "method": Method(level=asked.level), "experiments": experiments}
    with Bar(quiet or as_json) as bar:
        rates = (0.5,) if probe else tuple(round(claim.chance + (r - 0.5) * 2 * (1 - claim.chance), 3) for r in RATES)
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
        told = {"outcome": outcome, "chance": claim.chance, "level": asked.level, "reserves": asked.reserves}
        told |= {"design": rows}
        emit({**told, "needed": need and _powered(need), "problem": problem}, True)
        return
    click.echo(_power_text(outcome, asked, found, wanted))
    click.echo("")
    click.echo(_need_text(need, problem, 0.5 if probe else rate, wanted, grow))


def _outcome(design: Design, outcome: str | None) -> str:
    from pieces.source import nearest
    from studio.experiment.design import StudyError

    choices = [one for one in design.outcomes if one.partition("/")[0] in ("prefer", "same", "mirror", "steer")]
    if outcome is None:
        outcome = next((one for one in design.analysis.primary if one in choices), design.analysis.primary[0])
    if outcome.startswith("visit/") and outcome in design.outcomes:
        raise StudyError(f"{outcome}: habits are measured and not tested, so there is no power: give --outcome")
    if outcome not in choices:
        raise StudyError(f"--outcome {outcome!r}: no choice of the study is called so{nearest(outcome, choices)}")
    return outcome


def _powered(one: Power) -> dict[str, Any]:
    size = one.size
    numbers = {"models": size.models, "pairs": size.pairs, "wordings": size.wordings, "repeats": size.repeats}
    told = {"power": one.value, "low": one.low, "high": one.high, "width": one.width, "experiments": one.experiments}
    return {**numbers, "trials": size.trials, **told}


def _sized(size: Size) -> str:
    return (
        f"{size.models} models x {size.pairs} works or runs x {size.wordings} wordings x {size.repeats} times "
        f"= {size.trials} trials"
    )


def _power_text(outcome: str, asked: Planned, found: list[tuple[float, Power]], wanted: float) -> str:
    """A table whose last column is a plot: the bar is the power, the mark is the power wanted."""
    from studio.experiment.verdicts import BEFOREHAND

    claim = asked.claim
    above = f"above chance ({claim.chance:.3g}) by its interval of level {asked.level:.3g}"
    shows = above if claim.kind == "above" else f"within {claim.margin:g} of chance"
    rows = [["rate", "power", "95 % interval", "", f"wanted: {wanted:g}"]]
    for rate, one in found:
        rows.append([f"{rate:.2f}", f"{one.value:.2f}", f"{one.low:.2f} to {one.high:.2f}", _plot(one, wanted), ""])
    lines = table([[row[0], row[1], row[2]] for row in rows])
    plots = [" " * round(wanted * _CELLS) + f"┆ {wanted:g}", *(row[3] for row in rows[1:])]
    both = [f"{line:<{max(map(len, lines))}}  {plot}".rstrip() for line, plot in zip(lines, plots, strict=True)]
    least = [f"no more than provisional: {BEFOREHAND[one]}" for one in asked.reserves]
    return "\n".join([f"{outcome}: {shows}", _sized(asked.size), *least, "", *both])


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


def _need_text(need: Power | None, problem: str, rate: float, wanted: float, grow: Sequence[str]) -> str:
    if need is None:
        return f"for a power of {wanted:g} at a rate of {rate:g}: {problem}"
    found = f"{need.value:.2f} ({need.low:.2f} to {need.high:.2f})"
    more = ", ".join(f"{getattr(need.size, what)} {'works or runs' if what == 'pairs' else what}" for what in grow)
    return (
        f"for a power of {wanted:g} at a rate of {rate:g}: {more}\n"
        f"  {_sized(need.size)}, power {found}, intervals {need.width:.2f} wide"
    )


@experiment.command()
@FILE
@JSON
@click.pass_context
def freeze(context: click.Context, file: Path, as_json: bool) -> None:
    """Write down what the study is before it runs; prints its hash, and what it covers."""
    from dataclasses import asdict

    from studio.experiment.design import read
    from studio.experiment.freezing import freeze as frozen
    from studio.experiment.freezing import namesakes

    with opened(context) as archive:
        record = frozen(archive, file)
        others = namesakes(archive, record)
    design = read(file)
    covers, reserves = _covers(record, design), _reserves(design)
    told: dict[str, Any] = {"id": record.id, "name": record.name, "hash": record.hash, "frozen": record.created}
    told |= {"covers": covers, "namesakes": [asdict(one) for one in others], "reserves": reserves}
    if as_json:
        emit(told, True)
        return
    rows = [[name, str(told[name])] for name in ("hash", "id", "name", "frozen")]
    rows += [["of the same name", str(one)] for one in others]
    rows += [["not more than provisional", f"{outcome}: {line}"] for outcome, why in reserves.items() for line in why]
    rows += [[name, _covered(value)] for name, value in covers.items() if value]
    click.echo("\n".join(table(rows)))


def _reserves(design: Design) -> dict[str, list[str]]:
    """Why primary outcomes will be provisional at best, whatever comes out."""
    from studio.experiment.crossed import StatisticsError
    from studio.experiment.power import planned
    from studio.experiment.verdicts import BEFOREHAND

    found: dict[str, list[str]] = {}
    for outcome in design.analysis.primary:
        if outcome.startswith("visit/"):
            continue
        try:
            found[outcome] = [BEFOREHAND[one] for one in planned(design, outcome).reserves]
        except StatisticsError as error:
            found[outcome] = [str(error)]
    return {outcome: why for outcome, why in found.items() if why}


def _covers(record: ExperimentRecord, design: Design) -> dict[str, Any]:
    """What was frozen, by what it is called."""
    from studio.experiment.trials import trials

    return {
        "question": design.question,
        "hypotheses": dict(design.hypotheses),
        "primary": list(design.analysis.primary),
        "exploratory": [one for one in design.outcomes if one not in design.analysis.primary],
        "exclusions": design.exclusions.model_dump(exclude_none=True),
        "stopping": design.stopping.model_dump(exclude_none=True),
        "budget": design.budget.model_dump(exclude_none=True, exclude={"workers"}),
        "audiences": [audience.name for audience in design.audiences],
        "models": {name: one for name, one in record.design["audiences"].items() if one},
        "libraries": record.design["libraries"],
        "works": [work.name for work in design.works],
        "wordings": list(design.wordings),
        "arms": list(design.arms),
        "trials": len(trials(design)),
        "files": dict(record.files),
    }


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
    for name, line in done.failures.items():
        click.echo(f"{name}: {line}", err=True)
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
        study = study_id(archive, file)
        results = analysed(gathered(archive, study))
        written = write(results, out) if {"html", "md"} & {*wanted} else []
        data: Any = [one for one in wanted if one not in ("html", "md")]
        written += export(archive, study, out, data, results) if data else []
    emit([str(path) for path in written] if as_json else "\n".join(map(str, written)), as_json)


experiment.add_command(review)
