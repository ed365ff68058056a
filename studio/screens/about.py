"""What F1 says of a thing that has the focus."""

from __future__ import annotations

from textual.widget import Widget
from textual.widgets import Input, OptionList

from studio.screens.voices import Head, Row
from studio.widgets.knob import Knob
from studio.widgets.plot import Plot
from studio.widgets.timeline import Timeline


def told_about(widget: Widget | None) -> tuple[str, str]:
    """A title and a few sentences."""
    if isinstance(widget, Knob):
        return widget.label, _control(widget)
    if isinstance(widget, Row):
        return f"{widget.path.split('.')[2]}: {widget.label}", (
            "A mapping lays a channel of a source onto a parameter of an instrument: what the channel spans (domain) "
            "onto what the parameter spans (range). Enter opens it as an inline table of TOML; what does not hold "
            "together is said under it, and nothing changes."
        )
    if isinstance(widget, Head):
        return "voice", "One sounding part: an instrument and what its parameters follow. The number is its gain in dB."
    if isinstance(widget, Timeline):
        return "timeline", (
            "What is recorded, in bars. A click or the arrows put the playhead there; a drag with Shift makes a loop. "
            "● is the live end, ◆ a playhead over what was recorded."
        )
    if isinstance(widget, Plot):
        return "channels", (
            "The channels of the sources over the last seconds, first those that are heard. To the right: the highest "
            "and the lowest value so far, and the value now. Up and down show those that do not fit."
        )
    for node in widget.ancestors_with_self if widget is not None else ():
        if told := getattr(node, "ABOUT", None):
            return str(told[0]), str(told[1])
    if isinstance(widget, OptionList | Input):
        return "pieces and sources", (
            "Type to filter, or write the path of a piece (my.toml) or of a source (my_source.py). Enter opens it."
        )
    return "Descant", "Art made from the inside of neural networks."


def _control(knob: Knob) -> str:
    control = knob.declared
    if control.choices:
        allowed = "one of " + ", ".join(control.choices)
    else:
        assert control.range is not None
        unit = f" {control.unit}" if control.unit else ""
        allowed = f"{control.range[0]:g} to {control.range[1]:g}{unit}, {control.shape}"
    live = "" if control.live else " It is read once, at the first tick."
    return f"{control.about}\n{allowed}; by default {control.default}; now {knob.value}.{live}"
