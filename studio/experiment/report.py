"""What a study says when it is over: one HTML file, and Markdown with its figures beside it, from the same blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pieces.errors import DescantError
from studio.experiment.analysis import Finding, Results, analysed
from studio.experiment.document import Block, Figure, Heading, Items, Table, Text, markdown, page
from studio.experiment.plots import draw
from studio.experiment.portraits import costs
from studio.experiment.sample import gathered
from studio.experiment.verdicts import (
    STANDINGS,
    chance,
    interval,
    number,
    probability,
    sensitivity,
    sentence,
    silence,
    sizes,
    steering,
    worth,
)
from studio.files import check_folder

if TYPE_CHECKING:
    from db.archive import Archive
    from db.audience import AnnotationRecord

#: Lines of errors and of annotations that are told; the exports have all.
MOST_ERRORS, MOST_NOTES = 10, 200
EMPTY = "There is none."
#: Tables of a design that a deviation may have changed, and what becomes of that.
CHANGED = {"analysis": "it was analysed as it was frozen", "exclusions": "trials were excluded by the changed rules"}
ADJUSTED = "Adjusted by Benjamini's and Hochberg's method among all outcomes that are not primary."


def report(archive: Archive, experiment: str, folder: Path) -> list[Path]:
    """Analyse a study and write its report; returns ``report.html``, ``report.md`` and the figures.

    Parameters
    ----------
    archive : Archive
    experiment : str
        Id or name.
    folder : Path
        Made where it is not there.

    Raises
    ------
    DescantError
        If there is no such study, or a file cannot be written.
    """
    return write(analysed(gathered(archive, experiment)), folder)


def write(results: Results, folder: Path) -> list[Path]:
    """Write the report of results that are there.

    Raises
    ------
    DescantError
        If a file cannot be written.
    """
    check_folder(folder)
    figures = [Figure(name, caption, (folder / name).read_bytes()) for name, caption in draw(results, folder)]
    blocks = list(composed(results, figures))
    files = {"report.html": page(results.study.record.name, blocks), "report.md": markdown(blocks)}
    for name, text in files.items():
        _write(folder / name, text)
    return [folder / name for name in (*files, *(figure.name for figure in figures))]


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise DescantError(f"{path}: the report cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def composed(results: Results, figures: Sequence[Figure] = ()) -> Iterator[Block]:
    """The report as blocks: what was asked and frozen, one table, controls, figures, the rest, and its limits."""
    yield from _opening(results)
    yield from _frozen(results)
    yield from _controls(results)
    yield Heading("Primary outcomes")
    yield _table(results, results.of("primary"), "Adjusted by Holm's method for the number of primary outcomes.")
    yield Heading("Figures")
    yield from figures
    yield from _audiences(results)
    yield Heading("Exploratory outcomes")
    yield Text("Not decided on before the data were there to be seen: at best hints for the next study.")
    yield _table(results, results.of("exploratory"), ADJUSTED)
    yield from _splits(results)
    yield from _progress(results)
    yield from _trials(results)
    yield from _limits(results)
    yield from _annotations(results)


def _opening(results: Results) -> Iterator[Block]:
    study = results.study
    yield Heading(study.record.name, 1)
    yield Text(study.design.question or "No question was written down.")
    for finding in results.of("primary"):
        yield Text(sentence(finding, results), strong=True)
    yield Text(STANDINGS[results.standing])
    if steered := steering(results):
        yield Text(steered, strong=True)


def _frozen(results: Results) -> Iterator[Block]:
    study, rules = results.study, results.study.design
    yield Heading("What was frozen, and when")
    exclusions = [f"{name} = {value:g}" for name, value in rules.exclusions if value is not None]
    stopping = [f"{name} = {value:g}" for name, value in rules.stopping if value is not None]
    yield Items(
        [
            f"Frozen on {study.record.created[:19]} UTC, SHA-256 {study.record.hash}, experiment {study.record.id}.",
            *(f"Hypothesis {name}: {text}" for name, text in rules.hypotheses.items()),
            f"Primary: {', '.join(study.analysis.primary)}. Intervals of level {study.analysis.level:g}; controls are "
            f"to be within {study.analysis.margin:g} of chance.",
            f"Excluded by: {', '.join(exclusions) or 'no rule'}; failed trials always are.",
            f"Ended by: {', '.join(stopping) or 'the design alone'}.",
        ]
    )
    yield Heading("Deviations", 3)
    yield (
        Items(
            [
                f"{d.number}. {d.created[:19]} UTC, {d.author}: {d.text} "
                f"(changed: {', '.join(d.changes.get('changed', {})) or 'nothing of the design'})"
                for d in study.deviations
            ]
        )
        if study.deviations
        else Text(EMPTY)
    )


def _table(results: Results, findings: Sequence[Finding], caption: str) -> Block:
    """The table by which a study is defended."""
    if not findings:
        return Text(EMPTY)
    head = ("outcome", "estimate [interval]", "chance", "levels", "trials", "adjusted p", "what it says",
            "what it does not say")  # fmt: skip
    rows = [
        (
            finding.outcome,
            worth(finding),
            chance(finding),
            sizes(finding.estimate),
            "0" if finding.estimate is None else str(finding.estimate.trials),
            probability(finding.adjusted),
            sentence(finding, results),
            silence(finding),
        )
        for finding in findings
    ]
    return Table(head, rows, f"{caption} Intervals of level {results.study.analysis.level:g}.")


def _controls(results: Results) -> Iterator[Block]:
    yield Heading("Controls")
    yield Text(STANDINGS[results.standing], strong=True)
    named = ("control", "estimate [interval]", "equivalence interval", "margin", "p of equivalence", "what it says")
    rows = []
    for finding in results.of("control"):
        test = finding.equivalence
        cells = (interval(test.estimate), f"± {number(test.margin)}") if test else ("-", "-")
        said = sentence(finding, results)
        rows.append((finding.outcome, interval(finding.estimate), *cells, probability(finding.p), said))
    if rows:
        yield Table(
            named, rows, "Shares; chance is 0.500. Two one-sided tests: the narrower interval within the margin."
        )
    yield Heading("Can they tell works apart at all (ABX)?", 3)
    if positive := results.of("positive"):
        yield _table(results, positive, ADJUSTED)
    heard = [
        (
            one.audience,
            one.register,
            one.condition if one.level is None else f"{one.condition} {one.level:g}",
            sensitivity(one.discrimination),
            "-" if one.discrimination is None else str(one.discrimination.correct.trials),
            one.problem or ("yes" if one.discrimination and one.discrimination.low > 0 else "not shown"),
        )
        for one in results.hearing
    ]
    head = ("audience", "register", "against", "d' [interval]", "trials", "tells apart")
    unasked = "ABX was not asked: whether any audience hears a difference is not known."
    yield (
        Table(
            head,
            heard,
            "Who cannot tell two works apart cannot like one. Intervals are of these works and wordings alone.",
        )
        if heard
        else Text(unasked)
    )


def _audiences(results: Results) -> Iterator[Block]:
    yield Heading("Audience by audience")
    hears = {True: "yes", False: "NOT SHOWN: then it cannot like one", None: "not asked"}
    rows = [
        (
            one.audience,
            one.register,
            one.outcome,
            interval(one.estimate),
            "0" if one.estimate is None else str(one.estimate.trials),
            hears[one.hears],
            "learning progress, not liking" if one.by_progress else "answer",
        )
        for one in results.preferences
    ]
    head = ("audience", "register", "outcome", "share [interval]", "trials", "tells works apart", "chosen by")
    caption = "Not corrected for their number: for looking, not for claiming."
    yield Table(head, rows, caption) if rows else Text("Nobody was asked to choose.")
    yield from _habits(results)


def _habits(results: Results) -> Iterator[Block]:
    rows = [(one.audience, interval(one.side), interval(one.flips), number(one.rotations)) for one in results.habits]
    if rows:
        head = ("audience", "chose what was shown first", "stayed on its side when swapped", "flips within a decision")
        yield Table(head, rows, "Chance is 0.500; of staying, 0 follows what is told, and 1 follows the side.")


def _splits(results: Results) -> Iterator[Block]:
    if results.splits:
        rows = [(outcome, factor, level, interval(e), str(e.trials)) for outcome, factor, level, e in results.splits]
        yield Heading("By wording and by instruction", 3)
        yield Table(("outcome", "factor", "level", "share [interval]", "trials"), rows, "Not corrected.")


def _progress(results: Results) -> Iterator[Block]:
    yield Heading("Learning progress")
    if not results.progress:
        yield Text("No visitor measured its learning progress.")
        return
    yield Text(
        "How much better a visitor that learns while it listens came to predict, in nats per token. It is no liking, "
        "and no answer: what such a visitor chooses, it chooses by this."
    )
    rows = [
        (
            one.audience,
            one.outcome,
            str(one.trials),
            number(one.own),
            number(one.other),
            interval(one.difference),
            interval(one.chosen),
        )
        for one in results.progress
    ]
    head = ("audience", "trials of", "trials", "progress, as it is", "progress, held against", "difference [interval]",
            "chosen by progress")  # fmt: skip
    yield Table(head, rows, "Nats per token; the last column is a share, chance 0.500.")


def _trials(results: Results) -> Iterator[Block]:
    counts = results.counts
    yield Heading("Trials and costs")
    failed, excluded = sum(counts.failed.values()), sum(counts.excluded.values())
    yield Text(
        f"{counts.planned} trials were planned, {counts.over} are over, {counts.analysed} were analysed; {failed} "
        f"failed, {excluded} were excluded, {counts.planned - counts.over} were not run."
    )
    lines = [f"{count} excluded: {rule}" for rule, count in counts.excluded.items()]
    lines += [f"{count} failed: {error}" for error, count in [*counts.failed.items()][:MOST_ERRORS]]
    if (more := len(counts.failed) - MOST_ERRORS) > 0:
        lines.append(f"and {more} other reasons of failure")
    if lines:
        yield Items(lines)
    spent = [
        (one.audience, str(one.trials), f"{one.tokens:.0f}", f"{one.cost:.4f}", f"{one.seconds:.1f}")
        for one in costs(results.study)
    ]
    yield Table(("audience", "trials", "tokens", "cost", "seconds"), spent, "With failed trials; cost as reported.")


def _limits(results: Results) -> Iterator[Block]:
    yield Heading("Limits")
    yield Text(
        "Intervals are over models, works and wordings as crossed random factors: seeds and repeats of one model are "
        "not subjects. What has one level only is not generalised over."
    )
    said: dict[str, list[str]] = {}
    for finding in results.findings:
        for note in finding.estimate.notes if finding.estimate else ():
            said.setdefault(note, []).append(finding.outcome)
    lines = [f"{note} ({', '.join(outcomes)})" for note, outcomes in said.items()]
    if results.counts.over < results.counts.planned:
        lines.append(f"{results.counts.planned - results.counts.over} of {results.counts.planned} trials were not run")
    if (frozen := results.study.record.design.get("design")) is not None:
        now = results.study.design.model_dump(mode="json")
        lines += [
            f"{what}: changed after it was frozen; {consequence}"
            for what, consequence in CHANGED.items()
            if frozen[what] != now[what]
        ]
    if results.study.measuring:
        names = ", ".join(sorted(results.study.measuring))
        lines.append(
            f"{names}: chooses by learning progress; left out of all outcomes of preference that others answer"
        )
    yield Items(lines) if lines else Text("No others were noticed.")


def _annotations(results: Results) -> Iterator[Block]:
    """Facts apart from interpretations."""
    for kind, title in (("fact", "Facts that coders noted"), ("interpretation", "Interpretations")):
        found = [one for one in results.study.annotations if one.kind == kind]
        yield Heading(title)
        yield Items([_annotation(one) for one in found[:MOST_NOTES]]) if found else Text(EMPTY)
        if len(found) > MOST_NOTES:
            yield Text(f"And {len(found) - MOST_NOTES} more, in the archive.")


def _annotation(one: AnnotationRecord) -> str:
    where = "" if one.turn is None else f", turn {one.turn}"
    eyes = "blind to the condition" if one.blind else "knowing the condition"
    return f"{one.author}, {eyes} (transcript {one.transcript_id}{where}; {one.tag}): {one.text}"
