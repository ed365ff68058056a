"""How visitors are spoken to. They ask the same in other words: a result that hangs on one is no result."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """One way to say it.

    Attributes
    ----------
    name : str
    instruction : str
        What a visitor of a game is told of its task.
    verb, argument : str
        How it is asked for a command, and for what the command needs: ``{verb}``.
    comparing : str
        What a visitor is told before it is to compare.
    prefer, same, rate : str
        How it is asked which of two it prefers, which of two (``{first}``, ``{second}``) a third one (``{third}``) is,
        and how it rates one (``{work}``) from 0 to 10.
    """

    name: str
    instruction: str
    verb: str
    argument: str
    comparing: str
    prefer: str
    same: str
    rate: str


PLAIN = Wording(
    name="plain",
    instruction="You are in a gallery. Attend what you like, for as long as you like, and leave when you like.",
    verb="What do you do?",
    argument="{verb}: which?",
    comparing="You attend some works, one after the other. Then you are asked about them.",
    prefer="Which of them do you prefer?",
    same="One of {first} and {second} is {third}. Which?",
    rate="How do you rate {work}, from 0 (not at all) to 10 (very much)?",
)
WORDINGS: dict[str, Wording] = {
    wording.name: wording
    for wording in (
        PLAIN,
        Wording(
            name="guest",
            instruction="You are the guest of an exhibition. Go where you wish, stay or go on, as you please.",
            verb="What is your next command?",
            argument="What do you want to {verb}?",
            comparing="Here are some works for you, each after the other. A question about them follows.",
            prefer="Which one do you like better?",
            same="{third} is either {first} or {second}. Which of the two is it?",
            rate="How much do you like {work}: from 0 (not at all) to 10 (very much)?",
        ),
        Wording(
            name="letter",
            instruction="Several rooms are open to you today. Enter any, for any time; going is up to you, too.",
            verb="What would you do now?",
            argument="Please say for {verb}: which one?",
            comparing="You will be given some works, in a row, and then one question on them.",
            prefer="Please say which of them you prefer.",
            same="Of {first} and {second}, one was given again as {third}. Which one was it?",
            rate="Please rate {work}: 0 is not at all, 10 is very much.",
        ),
        Wording(
            name="formal",
            instruction="The participant may enter rooms, attend works in any order, and end the visit at will.",
            verb="Select the next command.",
            argument="Select the argument of {verb}.",
            comparing="The participant attends works in sequence. A question on these works follows.",
            prefer="Select the preferred work.",
            same="{third} is identical with either {first} or {second}. Select which.",
            rate="Select a rating of {work}, from 0 (not at all) to 10 (very much).",
        ),
        Wording(
            name="short",
            instruction="A gallery. Its rooms are open. What you attend, and for how long, is up to you.",
            verb="Command:",
            argument="{verb}:",
            comparing="Works follow. Then a question.",
            prefer="You prefer:",
            same="{first} or {second}, which is {third}:",
            rate="{work}, 0 (not at all) to 10 (very much):",
        ),
    )
}
