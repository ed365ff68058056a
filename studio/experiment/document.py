"""A document of few kinds of blocks, written as Markdown and as one HTML file from the same texts.

Whatever stands in a block may come from a model or a stranger: it is made plain and escaped here, and nowhere else.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import TypeAlias

from studio.audience.text import plain

#: Characters of one text; longer ones are cut.
LONGEST = 4000
#: What has a meaning in Markdown, wherever it stands; at the beginning of a line; and what becomes a link by itself.
_MARKS, _OPENING, _LINK = (
    re.compile(r"([\\`*_\[\]<>|&$~#!])"),
    re.compile(r"^([-+=]|\d+(?=[.)](?:\s|$)))"),
    re.compile("://|www\\.|@"),
)
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
#: Light or dark as the reader's machine is; a table of many columns is a list of cards where there is no room for it.
_STYLE = """
:root { color-scheme: light dark;
  --ink: #1c1f2a; --ground: #fbfbf8; --quiet: #5d6272; --line: #d9dae0; --mark: #9a5b00 }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e6e9f0; --ground: #0b0d13; --quiet: #9aa0b0; --line: #2a2f3d; --mark: #ffb340 }
  img { filter: invert(.95) hue-rotate(180deg) }
}
body { color: var(--ink); background: var(--ground); font: 16px/1.55 system-ui, sans-serif; margin: 0 auto;
  max-width: 68rem; padding: 2rem 1.25rem 4rem; overflow-wrap: anywhere }
h1 { font-size: 1.9rem; line-height: 1.2 } h2 { margin-top: 2.6rem; border-bottom: 1px solid var(--line) }
h1, h2, h3 { font-weight: 650 }
p, li { max-width: 48rem } p.strong { border-left: 4px solid var(--mark); padding-left: .8rem; font-weight: 550 }
figure { margin: 1.2rem 0; max-width: 56rem } img { max-width: 100%; height: auto; border-radius: 4px }
figcaption, caption { color: var(--quiet); font-size: .9rem; text-align: left; padding-bottom: .3rem }
div.table { overflow-x: auto; margin: 1rem 0 } table { border-collapse: collapse; font-size: .88rem; width: 100% }
th, td { border-bottom: 1px solid var(--line); padding: .4rem .6rem; text-align: left; vertical-align: top;
  font-variant-numeric: tabular-nums; overflow-wrap: normal; min-width: 3rem }
th { color: var(--quiet); font-weight: 600; vertical-align: bottom }
td:first-child { font-weight: 550 }
@media screen and (max-width: 44rem) {
  thead { display: none } table, caption, tbody, tr, td { display: block } td { border: 0; padding: .1rem 0 }
  tr { border-bottom: 1px solid var(--line); padding: .5rem 0 }
  td:not(:first-child)::before { content: attr(data-label) ": "; color: var(--quiet) }
}
@media print {
  @page { margin: 16mm } body { background: none; font-size: 10pt; max-width: none; padding: 0 }
  h2, h3, caption { break-after: avoid } figure, tr, li, p { break-inside: avoid } div.table { overflow: visible }
  th, td { padding: .2rem .35rem; min-width: 0 } table { font-size: 8pt } p, li { max-width: none }
}
"""


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph; `strong` ones are what is to be read first."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Items:
    """A list."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table: every row as long as the head."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """A picture: PNG, the name of its file beside the Markdown, and what it shows."""

    name: str
    caption: str
    png: bytes


Block: TypeAlias = Heading | Text | Items | Table | Figure


def markdown(blocks: Iterable[Block]) -> str:
    """As CommonMark with tables (GFM); figures are files beside it."""
    return "\n\n".join(filter(None, map(_marked_block, blocks))) + "\n"


def _marked_block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_marked(text)}"
        case Text(text, strong):
            return f"**{_marked(text)}**" if strong and text.strip() else _marked(text)
        case Items(items):
            return "\n".join(f"- {_marked(item)}" for item in items)
        case Table(head, rows, caption):
            lines = [f"| {' | '.join(map(_marked, row))} |" for row in (head, *rows)]
            lines.insert(1, f"|{' --- |' * len(head)}")
            return "\n".join(lines) + (f"\n\n{_marked(caption)}" if caption else "")
        case Figure(name, caption, _):
            return f"![{_marked(caption)}]({name})"


def _marked(text: str) -> str:
    """Text that Markdown shows as it stands: no marks, no HTML, no links."""
    escaped = _MARKS.sub(r"\\\1", plain(text, LONGEST))
    escaped = _LINK.sub(lambda found: {"://": ":\\//", "www.": "www\\."}.get(found[0], "\\@"), escaped)
    return _OPENING.sub(lambda found: found[0] + "\\" if found[0].isdigit() else "\\" + found[0], escaped)


def page(title: str, blocks: Iterable[Block]) -> str:
    """As one HTML file that loads nothing and runs nothing."""
    body = "\n".join(map(_tagged_block, blocks))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{_tagged(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _tagged_block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{_tagged(text)}</h{level}>"
        case Text(text, strong):
            opening = '<p class="strong">' if strong else "<p>"
            return f"{opening}{_tagged(text)}</p>"
        case Items(items):
            return f"<ul>{''.join(f'<li>{_tagged(item)}</li>' for item in items)}</ul>"
        case Table(head, rows, caption):
            top = "".join(f'<th scope="col">{_tagged(cell)}</th>' for cell in head)
            lines = [f"<tr>{''.join(starmap(_tagged_cell, zip(head, row, strict=True)))}</tr>" for row in rows]
            said = f"<caption>{_tagged(caption)}</caption>" if caption else ""
            inner = f"{said}<thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody>"
            return f'<div class="table"><table>{inner}</table></div>'
        case Figure(_, caption, png):
            data, said = base64.b64encode(png).decode(), _tagged(caption)
            return (
                f'<figure><img alt="{said}" src="data:image/png;base64,{data}"><figcaption>{said}</figcaption></figure>'
            )


def _tagged_cell(name: str, cell: str) -> str:
    """A cell knows its column, for whoever reads it where there is no head."""
    return f'<td data-label="{_tagged(name)}">{_tagged(cell)}</td>'


def _tagged(text: str) -> str:
    return html.escape(plain(text, LONGEST))
