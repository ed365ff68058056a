"""Where takes come from: a tree of parents and children."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.style import Style
from rich.text import Text
from textual.message import Message
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from studio.widgets.plain import plain

if TYPE_CHECKING:
    from db.records import Family, Parent, TakeRow


class Lineage(Tree[str]):
    """The family of a take, oldest first; Enter or a click goes to a take.

    A take of several parents stands under the first; the others are named beside it.
    """

    DEFAULT_CSS = """
    Lineage { height: auto; background: transparent; padding: 0; scrollbar-size-vertical: 1; }
    Lineage:focus { background-tint: $foreground 4%; }
    """

    #: What help says of it.
    ABOUT = (
        "lineage",
        "What a take came from and what came of it: branches, trims, takes that were steered or used as material. "
        "Enter shows a take.",
    )

    class Chosen(Message):
        """Somebody wants to see this take."""

        def __init__(self, take_id: str) -> None:
            super().__init__()
            self.take_id = take_id

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("", id=id)
        self.show_root = False
        self.show_guides = True
        self.guide_depth = 3
        self.auto_expand = False

    def show_family(self, family: Family, current: str) -> None:
        """Show a family, with the take that is looked at pointed out."""
        self.clear()
        rows = {row.id: row for row in family.takes}
        parents: dict[str, list[Parent]] = {}
        for child, parent in family.links:
            parents.setdefault(child, []).append(parent)
        nodes: dict[str, TreeNode[str]] = {}
        for row in family.takes:  # oldest first: parents stand before their children
            of = [p for p in parents.get(row.id, ()) if p.take_id in nodes]
            above = nodes[of[0].take_id] if of else self.root
            nodes[row.id] = above.add(_label(row, of, rows, row.id == current), data=row.id, expand=True)
        if not family.whole:
            self.root.add(Text("… and more", Style(dim=True)), data="", allow_expand=False)
        for node in nodes.values():
            node.allow_expand = bool(node.children)
        self.root.expand()
        if current in nodes:
            self.call_after_refresh(self._point, nodes[current])

    def _point(self, node: TreeNode[str]) -> None:
        if node.line >= 0:
            self.cursor_line = node.line

    def on_tree_node_selected(self, event: Tree.NodeSelected[str]) -> None:
        """Go there."""
        event.stop()
        if event.node.data:
            self.post_message(self.Chosen(event.node.data))


def named(row: TakeRow) -> str:
    """What a take is called: its title, else its piece; on one line and without what a terminal would obey."""
    return plain(row.title or row.piece)


def _label(row: TakeRow, of: list[Parent], rows: dict[str, TakeRow], current: bool) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(named(row), Style(bold=current, reverse=current))
    text.append(f" {row.duration_s:.1f} s", Style(dim=True))
    if of:
        at = "" if of[0].tick is None else f" at {of[0].tick}"
        text.append(f" {of[0].relation}{at}", Style(italic=True, dim=True))
    if more := ", ".join(f"{p.relation} of {named(rows[p.take_id])}" for p in of[1:]):
        text.append(f" + {more}", Style(italic=True, dim=True))
    return text
