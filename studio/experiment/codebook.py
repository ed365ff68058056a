"""What stands in each column of the tables that a study is exported as, in words for somebody who was not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

#: What is in a column; ``json``: lists and mappings, as JSON in CSV and Parquet.
Kind: TypeAlias = Literal["text", "integer", "number", "flag", "json"]


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    name : str
    kind : {"text", "integer", "number", "flag", "json"}
    meaning : str
        One or two sentences.
    unit : str
        Empty where it has none.
    """

    name: str
    kind: Kind
    meaning: str
    unit: str = ""


_EXPERIMENT = Column("experiment", "text", "Id of the study, a UUID.")
_TRANSCRIPT = Column(
    "transcript",
    "text",
    "Id of what was told and decided in the trial (of a run of steering: its last visit); the key of the table turns.",
)

_TRIALS = (
    _EXPERIMENT,
    Column("number", "integer", "Which trial, from 0, in the order in which they were run; the key of this table."),
    _TRANSCRIPT,
    Column("task", "text", "prefer (one of two works), same (ABX: what a third one is), mirror, visit, run, steer."),
    Column("outcome", "text", "Id of the outcome that it belongs to; the key of the table estimates."),
    Column(
        "condition", "text", "What the work was held against: shuffled, sham, silent, other score, other signals, "
        "as is or blind (both are controls), distorted (see level); of a visit the number of its button, of "
        "steering whose last take.",
    ),
    Column("level", "number", "Of condition distorted: how much of the work was.", "share, 0..1"),
    Column("audience", "text", "Who attended, as the study calls it."),
    Column("visitor", "text", "The same as it was invited: kind:model."),
    Column("model", "text", "Name of the model that decided; the visitor's own where it has no model."),
    Column("revision", "text", "Which version of the model: a hash of its files, or what its server calls it."),
    Column("prompt", "text", "Hash of the prompt's template."),
    Column("register", "text", "In which words it was spoken to: prose, numbers, tokens."),
    Column("wording", "text", "Which paraphrase of the instructions."),
    Column("arm", "text", "Which instruction was added, of those that the study opposes."),
    Column("work", "text", "The work as it is; of steering which run; of a visit empty: all works."),
    Column("other", "text", "Of condition sham which other work."),
    Column("order", "integer", "0: the work as it is was told first; 1: second."),
    Column("third", "integer", "Of task same: 0: the third one was the work as it is; 1: it was the other one."),
    Column("side", "integer", "0: the options stood in the order in which works were told; 1: the other way round."),
    Column("repeat", "integer", "From 0; repeats of one model are no subjects."),
    Column("cell", "integer", "Equal in trials that differ in order, third and side alone."),
    Column("seed", "integer", "Of the visitor; of a run of steering, of its takes, visits and proposals."),
    Column("variant", "integer", "Seed of what is random in a condition; equal for all who attend a work in a repeat."),
    Column("status", "text", "done or failed."),
    Column("error", "text", "Why it failed; else empty."),
    Column("excluded", "text", "The rule by which it is left out of the analysis; empty: it is in."),
    Column("attempts", "integer", "How often it was begun."),
    Column("options", "json", "What could be answered, in the order in which it was shown."),
    Column("probabilities", "json", "The visitor's probability of each option, in the same order.", "0..1"),
    Column("chosen", "text", "The option that was taken."),
    Column("target", "flag", "Whether that is the work as it is, the last take, the right answer, or its own curve."),
    Column("p_target", "number", "The visitor's probability of the target.", "0..1"),
    Column("chance", "number", "Share of targets of whoever knows nothing.", "0..1"),
    Column("first_shown", "flag", "Whether the option that was shown first was chosen."),
    Column(
        "flips", "number", "Of the further orders of its options in which a decision was asked: those that would have "
        "given another.", "share, 0..1",
    ),
    Column("dropped", "number", "How much of what it was told it could not take in.", "tokens, of servers characters"),
    Column("latency", "number", "Of the last decision.", "s"),
    Column("retries", "number", "Requests that were repeated, over all decisions."),
    Column("tokens", "number", "Over all decisions, as the visitor reports them."),
    Column("cost", "number", "As the visitor reports it.", "currency of the prices that it was given"),
    Column("seconds", "number", "What the whole trial took.", "s"),
    Column("facts", "json", "All else that the visitor says of its decision."),
    Column("about", "json", "All that the visitor says of itself: model, library versions, settings."),
    Column("ended", "text", "Of a visit: left, or moves where it was at their end."),
    Column("moves", "integer", "Of a visit: how many."),
    Column("heard", "integer", "Of a visit: moments that were listened to.", "moments of 0.5 s"),
    Column("idle", "number", "Of a visit: moves on which it waited or slept.", "share, 0..1"),
    Column("press", "number", "Of a visit: moves on which it pressed the button; never liking.", "share, 0..1"),
    Column("button", "text", "Of a visit: what is written on the button."),
    Column("price", "number", "Of a visit: what the button costs.", "moments of the budget"),
    Column("reward", "number", "Of a visit: what the button gives."),
    Column("ratings", "json", "Of a visit: what was answered when a rating was given, by id of the take.", "0..1"),
    Column("progress", "number", "How much predictions improved, of visitors that learn; never liking.", "nats/token"),
    Column("rounds", "json", "Of a steering run: each round's take, changes, value and wishes."),
    Column("verdict", "text", "What the visitor wrote at its end, if anything."),
)  # fmt: skip

_TURNS = (
    _EXPERIMENT,
    Column("trial", "integer", "Number of the trial."),
    _TRANSCRIPT,
    Column("number", "integer", "Which turn, from 0."),
    Column("command", "text", "What was done; empty where something was told or asked."),
    Column("observation", "text", "What was told, to the last letter."),
    Column("decisions", "json", "How it came about: questions, options as shown, probabilities, choice, facts."),
    Column("budget", "number", "What is left after it.", "moments"),
    Column("reward", "number", "What the button gave."),
    Column("room", "integer", "Where it was: number of the work in the order of telling; empty: in no room."),
    Column("first", "integer", "The first moment that was heard, from 0; empty: none was.", "moments of 0.5 s"),
    Column("count", "integer", "How many moments were heard.", "moments of 0.5 s"),
)  # fmt: skip

_ESTIMATES = (
    _EXPERIMENT,
    Column("outcome", "text", "Id of the outcome: task/condition; the key of this table."),
    Column("role", "text", "primary, exploratory, control (must be chance), positive (must be above it)."),
    Column("verdict", "text", "shown, provisional, void, hint, opposite, not shown, measured; of controls at chance, "
           "leaks, undecided; heard of positive ones; none: no data."),
    Column("value", "number", "A share; of same the share that were right, were there no bias; of slope d' by share "
           "distorted; of alpha Krippendorff's alpha; of arm a difference of shares.", "mostly 0..1"),
    Column("low", "number", "Lower end of its interval.", "as value"),
    Column("high", "number", "Upper end of its interval.", "as value"),
    Column("level", "number", "Confidence level of the interval.", "0..1"),
    Column("chance", "number", "The value of whoever knows nothing; empty: there is none.", "as value"),
    Column("error", "number", "Standard error over models, works and wordings as crossed random factors.", "as value"),
    Column("df", "number", "Its degrees of freedom."),
    Column("trials", "integer", "Trials with an outcome that were analysed."),
    Column("cells", "integer", "Combinations of model, work and wording with a trial."),
    Column("levels", "json", "How many levels each random factor has."),
    Column("p", "number", "Against chance, both sides; of controls of equivalence, two one-sided tests."),
    Column("adjusted", "number", "p by Holm among primary outcomes, by Benjamini and Hochberg among all others."),
    Column("dprime", "number", "Of same: sensitivity by the differencing model.", "d'"),
    Column("dprime_low", "number", "Lower end of its interval.", "d'"),
    Column("dprime_high", "number", "Upper end of its interval.", "d'"),
    Column("equivalence_low", "number", "Of controls: lower end of the interval of equivalence.", "share, 0..1"),
    Column("equivalence_high", "number", "Of controls: its upper end.", "share, 0..1"),
    Column("margin", "number", "Of controls: how far from chance is as good as chance.", "share, 0..1"),
    Column("by_progress", "flag", "Whether visitors chose by learning progress: this is no preference."),
    Column("sentence", "text", "What the finding says."),
    Column("problem", "text", "Why it cannot be estimated."),
    Column("notes", "json", "What limits it."),
)  # fmt: skip

#: The tables, and their columns in order.
BOOK: Mapping[str, tuple[Column, ...]] = {"trials": _TRIALS, "turns": _TURNS, "estimates": _ESTIMATES}
