"""Run the benchmarks named on the command line, or all of them, and print a table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

from studio.console import table
from tests.benchmarks import (
    bench_archive,
    bench_audience,
    bench_big_mind,
    bench_command,
    bench_engine,
    bench_minds,
    bench_minds_trajectory,
    bench_screen,
    bench_session,
    bench_sound,
    bench_taste,
)
from tests.benchmarks.measure import Row, machine

SUITES: dict[str, Callable[[], Iterator[Row]]] = {
    "command": bench_command.rows,
    "sound": bench_sound.rows,
    "engine": bench_engine.rows,
    "archive": bench_archive.rows,
    "audience": bench_audience.rows,
    "taste": bench_taste.rows,
    "screen": bench_screen.rows,
    "session": bench_session.rows,
    "minds": bench_minds.rows,
    "trajectory": bench_minds_trajectory.rows,
    "big": bench_big_mind.rows,
}


def main() -> None:
    unknown = [name for name in sys.argv[1:] if name not in SUITES]
    if unknown:
        sys.exit(f"no benchmark {unknown[0]!r}; there are {', '.join(SUITES)}")
    print(machine(), flush=True)
    found = []
    for name in sys.argv[1:] or SUITES:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        found += [row.cells() for row in SUITES[name]()]
    print("\n".join(table([["what", "measured", "goal", "met", "beside", "ratio"], *found])))


if __name__ == "__main__":
    main()
