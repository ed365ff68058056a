"""What a study says when it is over: one HTML file, and Markdown with its figures beside it, from the same blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pieces.errors import DescantError
from studio.experiment.analysis import Finding, Results, Role, analysed
from studio.experiment.design import Stopping
from studio.experiment.document import Block, Figure, Heading, Items, Table, Text, markdown, page
from studio.experiment.plots import draw
from studio.experiment.portraits import costs
from studio.experiment.sample import Row, gathered
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
from studio.words.artefact import MOMENT_S

if TYPE_CHECKING:
    from db.archive import Archive
    from db.audience import AnnotationRecord

#: Lines of errors and of annotations that are told; the exports have all.
MOST_ERRORS, MOST_NOTES = 10, 200
EMPTY = "There is none."
#: Tables of a design that a deviation may have changed, and what becomes of that.
CHANGED = {"analysis": "it was analysed as it was frozen", "exclusions": "trials were excluded as it was frozen"}
#: What the lines of the one table are, in their order: first what must hold, or the rest says nothing.
ROLES: Mapping[Role, str] = {
    "control": "control",
    "positive": "positive control",
    "primary": "primary",
    "exploratory": "exploratory",
}
#: How it was computed.
METHODS = (
    "Trials of one model, work and wording are averaged first. Standard errors are those of a multiway bootstrap over "
    "models, works and wordings as crossed random factors (Owen 2007, the pigeonhole bootstrap), each component of "
    "variance counted once; intervals are Student's t by Satterthwaite's degrees of freedom, and no narrower than "
    "Clopper and Pearson's exact ones for as many independent trials; these may be wider than of shares that vary.",
    "Preferences are estimated of those audiences that tell just these works apart by ABX (of steering: two works, "
    "sham), where there are any; without, and of one work or one run, nothing is more than provisional.",
    "Controls are tested for equivalence to chance by two one-sided tests within the margin that was frozen; all else "
    "against chance, both sides.",
    "Primary outcomes are adjusted by Holm's method, all others by Benjamini's and Hochberg's; agreement "
    "(Krippendorff's alpha) is measured and not tested.",
    "d' of ABX is that of the differencing model (Macmillan and Creelman 2005, chapter 9), free of a bias to one "
    "answer; of whoever is always right it is as large as so many trials can show (log-linear rule, Hautus 1995).",
)


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
    yield from _table(results)
    yield from _frozen(results)
    yield from _design(results)
    yield from _controls(results)
    yield Heading("Primary outcomes")
    yield _said(results, results.of("primary"))
    yield Heading("Figures")
    yield from figures
    yield from _audiences(results)
    yield Heading("Exploratory outcomes")
    yield Text("Not decided on before the data were there to be seen: at best hints for the next study.")
    yield _said(results, results.of("exploratory"))
    yield from _splits(results)
    yield from _progress(results)
    yield from _trials(results)
    yield from _limits(results)
    yield from _annotations(results)


def _opening(results: Results) -> Iterator[Block]:
    study = results.study
    yield Heading(study.record.name, 1)
    counts, design = results.counts, study.frozen
    yield Text(design.question or "No question was written down.")
    levels = {"audience": design.audiences, "work": design.works, "wording": design.wordings}
    crossed = " × ".join(f"{len(some)} {name}{'s' * (len(some) != 1)}" for name, some in levels.items() if some)
    yield Text(
        f"{crossed}. {counts.analysed} of {counts.planned} trials were analysed; {sum(counts.failed.values())} failed, "
        f"{sum(counts.excluded.values())} were excluded by rule, {counts.planned - counts.over} were not run. "
        f"Deviations from what was frozen: {len(study.deviations)}."
    )
    for finding in results.of("primary"):
        yield Text(sentence(finding, results), strong=True)
    yield Text(STANDINGS[results.standing])
    if steered := steering(results):
        yield Text(steered, strong=True)


def _frozen(results: Results) -> Iterator[Block]:
    study, rules = results.study, results.study.frozen
    yield Heading("What was frozen, and when")
    exclusions = [f"{name} = {value:g}" for name, value in rules.exclusions if value is not None]
    libraries: Mapping[str, str] = study.record.design.get("libraries") or {}
    yield Items(
        [
            f"Frozen on {study.record.created[:19]} UTC, SHA-256 {study.record.hash}, experiment {study.record.id}.",
            *(f"Hypothesis {name}: {text}" for name, text in rules.hypotheses.items()),
            f"Primary: {', '.join(study.analysis.primary)}. Intervals of level {study.analysis.level:g}; controls are "
            f"to be within {study.analysis.margin:g} of chance.",
            f"Excluded by: {', '.join(exclusions) or 'no rule'}; failed trials always are.",
            f"Ended by: {_stopping(rules.stopping)}.",
            f"Versions: {_set({'descant': study.record.design.get('descant', '-'), **libraries})}.",
            *(f"Frozen under the same name, with another content: {one}." for one in study.namesakes),
        ]
    )
    yield Heading("Deviations", 3)
    if not study.deviations:
        yield Text(EMPTY)
        return
    yield Items(
        [
            f"{d.number}. {d.created[:19]} UTC, {d.author}: {d.text} "
            f"(changed: {', '.join(d.changes.get('changed', {})) or 'nothing of the design'})"
            for d in study.deviations
        ]
    )
    if results.deviating:
        rows = [
            (one.outcome, worth(one), "0" if one.estimate is None else str(one.estimate.trials), probability(one.p))
            for one in results.deviating
        ]
        head = ("outcome", "estimate [interval]", "trials", "p, not adjusted")
        yield Table(head, rows, "By the rules as they were changed: not what was frozen, so nothing is claimed by it.")


def _stopping(rules: Stopping) -> str:
    """When no further trial was to be begun, besides the end of the design and of the budget."""
    said = [] if rules.trials is None else [f"{rules.trials} trials done"]
    said += [] if rules.failures == 1 else [f"more than {rules.failures:.0%} of the last 20 trials failed"]
    return ", or ".join(said) or "the design alone"


def _table(results: Results) -> Iterator[Block]:
    """The table by which a study is defended: what must hold first, then what was asked, then all else."""
    level = f"{results.study.analysis.level:.0%}"
    yield Heading("The study in one table")
    head = (
        "outcome",
        "role",
        f"estimate [{level} interval]",
        "chance",
        "levels",
        "trials",
        "p",
        "adjusted p",
        "verdict",
    )
    rows = [
        (
            finding.outcome,
            what,
            worth(finding),
            chance(finding) + ("" if finding.equivalence is None else f" ± {number(finding.equivalence.margin)}"),
            sizes(finding.estimate),
            "0" if finding.estimate is None else str(finding.estimate.trials),
            probability(finding.p),
            probability(finding.adjusted),
            finding.verdict if finding.verdict != "none" else "no data",
        )
        for role, what in ROLES.items()
        for finding in results.of(role)
        if role != "control" or finding.role == role  # one that is primary too stands among the primary ones
    ]
    yield Table(
        head,
        rows,
        "Shares from 0 to 1, d' in standard deviations. p against chance, both sides; of controls, of equivalence to "
        "chance within the margin after ±. Adjusted by Holm's method among primary outcomes, by Benjamini's and "
        "Hochberg's among all others. Trials: those that were analysed.",
    )


def _said(results: Results, findings: Sequence[Finding]) -> Block:
    """What findings say, and what they do not."""
    if not findings:
        return Text(EMPTY)
    rows = [(finding.outcome, sentence(finding, results), silence(finding)) for finding in findings]
    return Table(("outcome", "what it says", "what it does not say"), rows)


def _design(results: Results) -> Iterator[Block]:
    """Who attended what, as far as the file of the study says it."""
    design = results.study.design
    yield Heading("Who attended what")
    models: Mapping[str, str] = results.study.record.design.get("audiences") or {}
    own = [
        (one.name, one.visitor, models.get(one.name) or "-", ", ".join(one.registers) or "its own", _set(one.options))
        for one in design.audiences
    ]
    yield Table(("audience", "invited as", "what it was when frozen", "registers", "options"), own)
    made = [
        (
            one.name,
            one.piece or f"take {one.take}",
            "-" if one.piece is None else str(one.seed),
            _set(one.set),
            "whole" if one.duration is None else f"{one.duration:g} s",
        )
        for one in design.works
    ]
    if made:
        told = f"Of each, {design.moments} moments of {MOMENT_S:g} s are told at most."
        yield Table(("work", "piece", "seed", "controls", "length"), made, told)
    arms = [f"Instruction {name}: {text or 'nothing is added'}" for name, text in design.arms.items()]
    yield Items(
        [
            f"Tasks: {', '.join(dict.fromkeys(outcome for task in design.tasks for outcome in task.outcomes))}.",
            f"Wordings: {', '.join(design.wordings)}. Repeats: {design.repeats}. Order, sides and the third work are "
            "crossed with all else.",
            *(arms if len(arms) > 1 else []),
        ]
    )


def _set(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items()) or "-"


def _controls(results: Results) -> Iterator[Block]:
    yield Heading("Controls")
    yield Text(STANDINGS[results.standing], strong=True)
    rows = []
    for finding in results.of("control"):
        test = finding.equivalence
        cells = (interval(test.estimate), f"± {number(test.margin)}") if test else ("-", "-")
        rows.append((finding.outcome, *cells, sentence(finding, results), silence(finding)))
    if rows:
        yield Table(
            ("control", "equivalence interval", "margin", "what it says", "what it does not say"),
            rows,
            "Shares; chance is 0.500. Two one-sided tests: the interval, narrower than that above, within the margin.",
        )
    yield Heading("Can they tell works apart at all (ABX)?", 3)
    if positive := results.of("positive"):
        yield _said(results, positive)
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
            "Who cannot tell two works apart cannot like one. Intervals are of these works and wordings alone, and not "
            "corrected for their number.",
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
    yield from _by_outcome(results)


def _by_outcome(results: Results) -> Iterator[Block]:
    """Whether trials fail, or are longer, under one condition more than under others."""
    found: dict[str, list[Row]] = {}
    for row in results.study.rows:
        found.setdefault(row["outcome"], []).append(row)
    rows = []
    for outcome, own in found.items():
        failed = sum(row["status"] == "failed" for row in own)
        out = sum(bool(row["excluded"]) for row in own) - failed
        told = [row["tokens"] for row in own if row["tokens"]]
        mean = f"{sum(told) / len(told):.0f}" if told else "-"
        rows.append((outcome, str(len(own)), str(failed), f"{failed / len(own):.1%}", str(out), mean))
    if rows:
        head = ("trials of", "over", "failed", "share failed", "excluded", "tokens a trial")
        said = "If trials fail, or are longer, under one condition, what is found of it may be found of that."
        yield Table(head, rows, f"{said} Tokens of those visitors that count them.")


def _limits(results: Results) -> Iterator[Block]:
    yield Heading("Methods")
    yield Items(METHODS)
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
