"""The command palette: every action of the table, and every theme."""

from __future__ import annotations

from collections.abc import Iterator

from textual.command import DiscoveryHit, Hit, Hits, Provider

from studio.keymap import Action


class Actions(Provider):
    """Finds actions by a few letters of their words or of their help."""

    def _known(self) -> Iterator[Action]:
        from studio.app import Studio

        if isinstance(self.app, Studio):
            yield from self.app.possible_actions()

    def _say(self, action: Action) -> str:
        from studio.app import Studio

        sign = self.app.keymap.sign(action.id) if isinstance(self.app, Studio) else ""
        return f"{sign:<8} {action.help}" if sign else action.help

    def _do(self, action: Action) -> None:
        from studio.app import Studio

        if isinstance(self.app, Studio):
            self.app.do(action.id)

    async def discover(self) -> Hits:
        """All of them, while nothing is typed."""
        for action in self._known():
            yield DiscoveryHit(action.label, lambda a=action: self._do(a), help=self._say(action))

    async def search(self, query: str) -> Hits:
        """Those that match."""
        matcher = self.matcher(query)
        for action in self._known():
            score = matcher.match(action.label) or 0.1 * (query.lower() in action.help.lower())
            if score > 0:
                yield Hit(score, matcher.highlight(action.label), lambda a=action: self._do(a), help=self._say(action))
