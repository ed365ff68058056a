"""What a finding says in plain words, and what it does not say."""

from __future__ import annotations

from collections.abc import Iterator

from studio.experiment.analysis import FEWEST_WORKS, Finding, Reserve, Results, Standing
from studio.experiment.design import SteerTask
from studio.experiment.inference import Estimate
from studio.experiment.measures import Discrimination

#: What a work as it is was held against.
AGAINST = {
    "as is": "itself",
    "blind": "itself, when nothing was told of either",
    "shuffled": "the same with its moments in another order",
    "sham": "another work",
    "silent": "its pictures without sound",
    "other score": "the same signals with another score",
    "other signals": "the same score with other signals",
}
#: Who agrees, on what.
AGREED = {
    "prefer": "different models on choices",
    "ratings": "different models on ratings",
    "fact": "blind coders on the fact",
    "interpretation": "blind coders on the interpretation",
}
#: Why a design can show nothing, whatever comes out, and what to do.
BEFOREHAND: dict[Reserve, str] = {
    "controls": 'there is no control: add "blind" to the conditions of a task prefer',
    "unasked": 'nobody is asked to tell these apart: add a task same with that condition (of steering: "sham")',
    "works": f"there are fewer than {FEWEST_WORKS} works, or runs of steering",
}
#: What no outcome of a task says.
SILENT = {
    "prefer": "why, or that anything was felt: only what was chosen when it was asked",
    "same": "that anything is liked: only that a difference is noticed",
    "mirror": "self-awareness: whoever remembers what surprised it can find its own curve",
    "visit": "liking or boredom: only what was done",
    "steer": "anything of other pieces, or of what a longer run would give",
    "alpha": "that what is agreed on is right: a shared mistake is agreement too",
    "arm": "which instruction is the better one: only that what was chosen changes with it",
}
STANDINGS: dict[Standing, str] = {
    "at chance": "All controls are at chance: where nothing could be known, nothing was.",
    "leaks": "A control is away from chance: visitors knew something that they must not know, so nothing that was "
    "chosen in this study is evidence about the works.",
    "undecided": "A control is neither shown to be at chance within the margin nor away from it: what is found above "
    "chance is provisional until it is.",
    "none": "No control was run: what is found above chance is provisional.",
}


def number(value: float | None, digits: int = 3) -> str:
    """A number, as everywhere in a report."""
    return "-" if value is None else f"{value:.{digits}f}"


def interval(estimate: Estimate | None, digits: int = 3) -> str:
    """An estimate with its interval."""
    if estimate is None:
        return "-"
    return f"{estimate.value:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def sensitivity(told: Discrimination | None) -> str:
    """d' with its interval."""
    return "-" if told is None else f"{told.dprime:.2f} [{told.low:.2f}, {told.high:.2f}]"


def probability(p: float | None) -> str:
    """A p value."""
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def worth(finding: Finding) -> str:
    """The estimate of a finding with its interval, in its unit."""
    if finding.discrimination is not None:
        return f"d' {sensitivity(finding.discrimination)}"
    if finding.outcome == "same/slope":
        return f"d' {interval(finding.estimate, 2)} per unit of distortion"
    return interval(finding.estimate)


def chance(finding: Finding) -> str:
    """The value for whoever knows nothing."""
    if finding.estimate is None or finding.estimate.chance is None:
        return "-"
    if finding.discrimination is not None or finding.outcome == "same/slope":
        return "d' 0"
    return number(finding.estimate.chance)


def sizes(estimate: Estimate | None) -> str:
    """How many levels each factor has."""
    if estimate is None:
        return "-"
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for name, count in estimate.levels.items())


def claim(finding: Finding, results: Results) -> str:
    """What an outcome is, as the beginning of a sentence."""
    task, _, what = finding.outcome.partition("/")
    if task == "prefer":
        return f"The share of comparisons in which the work as it is was chosen over {AGAINST[what]}"
    if task == "same":
        if what == "slope":
            return "The rise of d' with the share of the work that is distorted"
        distorted = f"itself with {float(what):.0%} of it distorted" if what not in AGAINST else AGAINST[what]
        return f"The sensitivity with which the work is told apart from {distorted}"
    if task == "steer":
        task_of = next((t for t in results.study.design.tasks if isinstance(t, SteerTask)), None)
        first = task_of.steerers[0] if task_of else "the steerer"
        other = "the first one" if what == "first" else f"the last one steered by {what}"
        return f"The share in which fresh visitors chose the last take steered by {first} over {other}"
    if task == "alpha":
        on, _, tag = what.partition("/")
        return f"The agreement of {AGREED[on]}{f' {tag}' if tag else ''} (alpha)"
    if task == "arm":
        asked, _, arm = what.partition("/")
        first, chosen = next(iter(results.study.design.arms)), {"prefer": "the work as it is", "steer": "the last take"}
        return f"By how much more often {chosen[asked]} was chosen under the instruction {arm} than under {first}: this"
    if task == "mirror":
        return "The share in which a visitor took its own curve of surprise for its own"
    habit, _, button = what.partition("/")
    done = "waited or slept" if habit == "idle" else f"pressed the button{f' {button}' if button else ''}"
    return f"The share of moves in which visitors {done}"


def sentence(finding: Finding, results: Results) -> str:
    """What a finding says."""
    prefix = "By learning progress, which is no preference: " if finding.by_progress else ""
    return " ".join([f"{prefix}{_said(finding, results)}", *_ears(finding, results), *_reach(finding)])


def _said(finding: Finding, results: Results) -> str:
    about, value, none = claim(finding, results), worth(finding), chance(finding)
    p = f"adjusted p {probability(finding.adjusted)}"
    if finding.verdict in ("at chance", "leaks", "undecided"):
        return _control(finding, results)
    estimate = finding.estimate
    away = "below" if estimate is not None and estimate.value < (estimate.chance or 0.0) else "above"
    return {
        "shown": f"Shown. {about} is {value}, above chance, {none} ({p}).",
        "provisional": f"Provisional. {about} is {value}, above chance, {none} ({p})."
        f"{' The controls do not bear it.' if 'controls' in finding.reserves else ''}"
        f"{' What the trials were was changed after the freeze.' if 'changed' in finding.reserves else ''}",
        "void": f"Void. {about} is {value}, but a control is away from chance too: no evidence about the works.",
        "hint": f"A hint, to be tested by a study of its own. {about} is {value}, {away} chance, {none} ({p}).",
        "heard": f"A positive control. {about} is {value}, above chance, {none} ({p}).",
        "opposite": f"The opposite. {about} is {value}, below chance, {none} ({p}).",
        "not shown": f"Not shown. {about} is {value}; chance is {none} ({p}). Nothing is claimed, not even that there "
        "is no difference.",
        "measured": f"Measured, and not tested. {about} is {value}{'' if none == '-' else f'; chance is {none}'}.",
        "none": f"No estimate. {about}: {finding.problem}.",
    }[finding.verdict]


def _control(finding: Finding, results: Results) -> str:
    test = finding.equivalence
    assert test is not None
    about, margin = claim(finding, results), f"{number(test.centre)} ± {number(test.margin)}"
    narrow = f"{interval(test.estimate)} at level {test.estimate.level:g}"
    p = probability(finding.p if finding.adjusted is None else finding.adjusted)
    if finding.verdict == "at chance":
        return f"At chance. {about}, {narrow}, lies within {margin} (equivalence, p {p})."
    if finding.verdict == "leaks":
        return (
            f"Broken. {about} is {interval(finding.estimate)}, where nobody can know which is which: something leaks."
        )
    return f"Undecided. {about}, {narrow}, is not within {margin}, nor is chance left out: too few trials."


def _ears(finding: Finding, results: Results) -> Iterator[str]:
    """Who cannot be said to have chosen between two things, as far as it is known."""
    both = (finding.outcome, finding.by_progress)
    chose = [one for one in results.preferences if (one.outcome, one.by_progress) == both]
    unable = [f"{one.audience} ({one.register})" for one in chose if not one.hears]
    if not unable or finding.equivalence is not None:
        return
    if len(unable) < len(chose):
        yield f"Left out, as they are not shown to tell these apart: {', '.join(unable)}."
    elif any(one.hears is False for one in chose):
        yield "Nobody here is shown to tell these apart, and who cannot, cannot like one."
    else:
        what = "two works (sham)" if finding.outcome.startswith("steer/") else "these"
        yield f"Whether anybody tells {what} apart was not asked (ABX)."


def _reach(finding: Finding) -> Iterator[str]:
    """Beyond what a claim does not reach."""
    if finding.estimate is None or finding.verdict not in ("shown", "provisional", "hint", "opposite"):
        return
    levels = finding.estimate.levels
    if (works := levels.get("work", FEWEST_WORKS)) < FEWEST_WORKS:
        steered = finding.outcome.startswith(("steer/", "arm/steer"))
        yield _few_runs(works) if steered else f"{_few(works, 'work')} it is about these very works, and no others."
    if (models := levels.get("model", FEWEST_WORKS)) < FEWEST_WORKS:
        yield f"{_few(models, 'model')} hardly anything is said of others."


def _few(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}, fewer than {FEWEST_WORKS}:"


def _few_runs(count: int) -> str:
    return f"{_few(count, 'run')} it is about these takes, and not about steering."


def steering(results: Results) -> str:
    """Whether steering works: only if fresh visitors prefer its last take to all it is held against; empty: not asked.

    A preference that was no primary outcome, or chosen by learning progress, is not enough.
    """
    task = next((t for t in results.study.design.tasks if isinstance(t, SteerTask)), None)
    if task is None:
        return ""
    found = {one.outcome: one for one in results.findings}
    wanted = dict.fromkeys(("steer/first", "steer/random", "steer/yoked", *task.outcomes))
    lacking = {name: _lack(found.get(name)) for name in wanted}
    missing = [f"{name} ({why})" for name, why in lacking.items() if why]
    if not missing:
        return f"Steering by {task.steerers[0]} is shown to work: its last take is preferred to all it is held against."
    few = f" {_few_runs(task.runs)}" if task.runs < FEWEST_WORKS else ""
    lacks = f"what lacks is a preference in {', '.join(missing)}.{few}"
    return f"Steering by {task.steerers[0]} is not shown to work; {lacks}"


def _lack(finding: Finding | None) -> str:
    """Why a finding is no evidence that steering works; empty: it is."""
    if finding is None:
        return "not asked"
    if finding.by_progress:
        return "by learning progress"
    return "" if finding.verdict == "shown" else finding.verdict


def silence(finding: Finding) -> str:
    """What a finding does not say, whatever was found."""
    if finding.by_progress:
        return "anything of liking: a listener chooses by what it learned"
    if finding.outcome.startswith("visit/press"):
        return "liking: a button gives its reward and nothing else"
    if finding.equivalence is not None:
        return "that nothing leaks: only that this much does not"
    return SILENT[finding.outcome.partition("/")[0]]
