"""The figures of a report, as PNG: estimates with their intervals, what is told apart, preferences, habits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.audience.text import plain
from studio.experiment.analysis import Finding, Results
from studio.experiment.inference import Estimate
from studio.pictures.sheet import look, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Dots an inch; inches a row of a forest takes, and the width of a figure.
DPI, ROW, WIDTH = 150, 0.3, 8.0
#: On paper: what is drawn on, letters, what is quiet, lines that are hardly there.
GROUND, INK, QUIET, FAINT = "#ffffff", "#1c1f2a", "#5d6272", "#e3e4ea"
#: Each at least 4.5 to 1 on paper, and apart for colour-blind eyes (after Okabe & Ito 2008): primary, exploratory,
#: controls, what is broken, what was chosen by learning progress.
PRIMARY, EXPLORATORY, CONTROL, BROKEN, PROGRESS = "#9a5b00", "#0067a3", "#6a6f7d", "#c4290a", "#a03c84"
#: Of curves, with their marks: in grey they are told apart too.
CURVES = ((EXPLORATORY, "o"), (PRIMARY, "s"), (PROGRESS, "^"), ("#00735a", "D"), (BROKEN, "v"), (INK, "P"))
#: Characters of a label; rows of a forest, of which the tables have all.
LABEL, MOST_ROWS = 44, 150


@dataclass(frozen=True)
class Mark:
    """A row of a forest: an estimate on a scale from 0 to 1, in a colour; `hollow` where it is not to be trusted."""

    label: str
    estimate: Estimate
    colour: str
    hollow: bool = False


def draw(results: Results, folder: Path) -> list[tuple[str, str]]:
    """Write all figures for which there are data; returns name of the file and caption of each.

    Raises
    ------
    DescantError
        If one cannot be written.
    """
    made = []
    for name, caption, figure in (
        ("estimates.png", ESTIMATES, _estimates(results)),
        ("hearing.png", HEARING, _hearing(results)),
        ("preferences.png", PREFERENCES, _preferences(results)),
        ("habits.png", HABITS, _habits(results)),
    ):
        if figure is not None:
            _write(folder / name, *figure)
            made.append((name, caption))
    return made


ESTIMATES = (
    "Estimates with their intervals, and the number of trials; the stroke in each row is chance. Brown: primary, blue: "
    "exploratory, grey: controls with their margin, red: void, or a control that leaks."
)
HEARING = (
    "Psychometric curves: sensitivity of each audience and register by the share of a work that is distorted, with "
    "intervals. 0: nothing is told apart."
)
PREFERENCES = (
    "What each audience chose, with the number of trials. Hollow: it is not shown to tell such works apart, or was not "
    "asked. Violet: chosen by learning progress, which is no preference."
)
HABITS = "Habits: 0.5 is no side bias (left); 0 follows what is told, 1 follows the side (right)."

_Drawn = tuple[tuple[float, float], Callable[["Figure"], None]]


def _write(path: Path, size: tuple[float, float], fill: Callable[[Figure], None]) -> None:
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style.context(paper(), after_reset=True):
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        fill(figure)
        write_figure(figure, path)


def paper() -> dict[str, Any]:
    """Matplotlib's settings: those of sheets, in dark on light, since a report is printed too."""
    grounds = dict.fromkeys(("figure.facecolor", "axes.facecolor"), GROUND)
    quiet = dict.fromkeys(("axes.labelcolor", "xtick.color", "axes.edgecolor"), QUIET)
    letters = dict.fromkeys(("text.color", "ytick.color"), INK)
    return {**look(), **grounds, **quiet, **letters, "grid.color": FAINT}


def _label(text: str, trials: int | None = None) -> str:
    return plain(text, LABEL) + ("" if trials is None else f"  n = {trials}")


def _size(rows: int) -> tuple[float, float]:
    return WIDTH, max(1.6, ROW * rows + 0.9)


def _estimates(results: Results) -> _Drawn | None:
    """A forest of all shares; what is no share stands in the table alone."""
    found = [f for f in results.findings if f.estimate is not None and f.estimate.within == (0.0, 1.0)]
    if not found:
        return None
    marks = [Mark(f.outcome, f.estimate, _colour(f), f.verdict == "void") for f in found if f.estimate is not None]

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        _forest(axes, marks)
        for row, finding in enumerate(found):
            if finding.equivalence is not None:
                test = finding.equivalence
                axes.barh(row, 2 * test.margin, 0.62, test.centre - test.margin, color=FAINT, zorder=1)
        axes.set_xlabel(f"share, 0 to 1, with intervals of {marks[0].estimate.level:.0%} (of ABX: right, free of bias)")

    return _size(len(marks)), fill


def _colour(finding: Finding) -> str:
    if finding.verdict in ("void", "leaks"):
        return BROKEN
    return {"primary": PRIMARY, "exploratory": EXPLORATORY}.get(finding.role, CONTROL)


def _forest(axes: Axes, marks: Sequence[Mark]) -> None:
    """Estimates one under the other, from 0 to 1, each with its chance value."""
    for row, mark in enumerate(marks):
        one, colour = mark.estimate, mark.colour
        axes.plot([one.low, one.high], [row, row], color=colour, lw=2, solid_capstyle="round", zorder=3)
        inside = GROUND if mark.hollow else colour
        axes.plot([one.value], [row], "o", ms=6.5, mec=colour, mfc=inside, mew=1.6, zorder=4)
        if one.chance is not None:
            axes.plot([one.chance] * 2, [row - 0.38, row + 0.38], color=QUIET, lw=1.1, zorder=2)
    axes.set_yticks(range(len(marks)), [_label(mark.label, mark.estimate.trials) for mark in marks])
    axes.set(xlim=(-0.02, 1.02), ylim=(len(marks) - 0.4, -0.6))
    axes.grid(False, axis="y")


def _hearing(results: Results) -> _Drawn | None:
    heard = [one for one in results.hearing if one.level is not None and one.discrimination is not None]
    if not heard:
        return None
    curves: dict[tuple[str, str], list[Any]] = {}
    for one in heard:
        curves.setdefault((one.audience, one.register), []).append(one)

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.axhline(0, color=QUIET, lw=1.1)
        looks = cycle(CURVES)
        for number, ((audience, register), found) in enumerate(curves.items()):
            colour, mark = next(looks)
            found = sorted(found, key=lambda one: one.level)
            told = [one.discrimination for one in found]
            low, high = [d.dprime - d.low for d in told], [d.high - d.dprime for d in told]
            # Curves beside each other, so that equal ones are seen as several.
            at = [one.level + 0.008 * (number - (len(curves) - 1) / 2) for one in found]
            axes.errorbar(
                at, [d.dprime for d in told], [low, high], fmt=f"{mark}-", ms=5, lw=1.7, elinewidth=1.1,
                capsize=2.5, color=colour, label=_label(f"{audience}, {register}"),
            )  # fmt: skip
        axes.set(xlabel="share of the work that is distorted, 0 to 1", ylabel="sensitivity, d'", xlim=(-0.03, 1.03))
        axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))

    return (WIDTH, 4.2), fill


def _preferences(results: Results) -> _Drawn | None:
    found = [one for one in results.preferences if one.estimate is not None]
    if not found:
        return None
    marks = [
        Mark(
            f"{one.outcome}: {one.audience}, {one.register}",
            one.estimate,
            PROGRESS if one.by_progress else PRIMARY,
            not one.hears,
        )
        for one in sorted(found, key=lambda one: results.study.design.outcomes.index(one.outcome))
        if one.estimate is not None
    ][:MOST_ROWS]

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        _forest(axes, marks)
        axes.set_xlabel("share in which the work as it is, or the last take, was chosen")

    return _size(len(marks)), fill


def _habits(results: Results) -> _Drawn | None:
    found = [one for one in results.habits if one.side is not None or one.flips is not None]
    if not found:
        return None

    def fill(figure: Figure) -> None:
        side, flips = figure.subplots(1, 2)
        # An estimate that is missing leaves its row out.
        _forest(side, [Mark(one.audience, one.side, PRIMARY) for one in found if one.side is not None])
        _forest(flips, [Mark(one.audience, one.flips, PRIMARY) for one in found if one.flips is not None])
        side.set_title("chose what was shown first", loc="left", fontsize=9)
        flips.set_title("stayed on its side when sides were swapped", loc="left", fontsize=9)

    return _size(len(found) + 1), fill
