"""Finding a source: built in, in a user's file, by entry point; and what a wrong name is answered."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from pieces import source as room
from pieces.errors import ControlError
from pieces.source import (
    BUILT_IN,
    Source,
    SourceError,
    check_controls,
    find_source,
    source_names,
    split_source_path,
)

FILE = """
import numpy as np
from pieces.signals import Channel, Control, FrameBlock
from pieces.source import Source


class Ramp(Source):
    name = "ramp"
    about = "counts up"
    channels = (Channel("height", "how high", range=(0, 100)),)
    controls = (Control("slope", "steps at a tick", 1, (1, 9)),)

    def step(self, controls, events, n):
        return FrameBlock(0, {"height": np.arange(n, dtype="float32") * controls["slope"]})
"""


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_built_in_sources_are_declared_in_full(name: str) -> None:
    try:
        cls = find_source(name)
    except ModuleNotFoundError:
        pytest.skip(f"{name} is not in this checkout")
    assert issubclass(cls, Source)
    assert cls.name == name
    assert cls.about
    assert len({c.name for c in cls.channels}) == len(cls.channels)
    for control in cls.controls:
        assert control.about
        assert control.check(control.default) == control.default
    for told in (cls.listens, cls.emits, cls.inputs):
        assert all(told.values())


def test_listing_sources_loads_nothing_heavy() -> None:
    code = (
        "import sys; from pieces.source import find_source, source_names; source_names();"
        "[find_source(n) for n in ('cubics', 'knots', 'series')];"
        "print([m for m in ('torch', 'pyarrow', 'scipy', 'sklearn', 'pyo') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("asked", "answer"),
    [("cubic", "did you mean 'cubics'"), ("knosts", "did you mean 'knots'"), ("zzz", "known are .*cubics, .*knots")],
)
def test_nearest_names(asked: str, answer: str) -> None:
    with pytest.raises(SourceError, match=f"no source '{asked}'; {answer}"):
        find_source(asked)


def test_user_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FILE)
    for name in ("mine.py", "mine.py:Ramp", str(tmp_path / "mine.py")):
        cls = find_source(name, tmp_path)
        assert cls.name == "ramp"
        made = cls(0, check_controls(cls, {"slope": 2}))
        assert made.step({"slope": 2}, (), 3).arrays["height"].tolist() == [0, 2, 4]


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (FILE, "mine.py:Rampe", "mine.py has no source class 'Rampe'; did you mean 'Ramp'"),
        (FILE, "yours.py", "no source file .*yours.py"),
        ("x = 1", "mine.py", "mine.py holds 0 source classes"),
        (
            FILE + "class Other(Ramp):\n    pass\n",
            "mine.py",
            r"holds 2 source classes \(Ramp, Other\): name one as mine.py:",
        ),
        ("import nowhere_at_all", "mine.py", "does not load: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("def broken(:", "mine.py", "does not load: SyntaxError"),
        (FILE.replace('about = "counts up"', 'about = ""'), "mine.py", "declares no about"),
    ],
)
def test_user_file_that_does_not_work(tmp_path: Path, text: str, name: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(SourceError, match=message) as caught:
        find_source(name, tmp_path)
    assert "\n" not in str(caught.value)


def test_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugged_in.py").write_text(FILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [EntryPoint(n, f"plugged_in:{a}", "descant.sources") for n, a in (("ramp", "Ramp"), ("bad", "np"))]
    monkeypatch.setattr(room, "entry_points", lambda group: points)
    assert find_source("ramp").name == "ramp"
    assert {"ramp", "bad", "cubics"} <= set(source_names())
    with pytest.raises(SourceError, match=r"'bad'.* not a subclass"):
        find_source("bad")


def test_controls_are_completed_and_checked() -> None:
    cubics = find_source("cubics")
    complete = check_controls(cubics, {"points": 50})
    assert complete["points"] == 50
    assert set(complete) == {c.name for c in cubics.controls}
    with pytest.raises(ControlError, match="cubics has no control 'learningrate'; did you mean 'learning_rate'"):
        check_controls(cubics, {"learningrate": 0.1})
    with pytest.raises(ControlError, match=r"x_range = 6: allowed are numbers from 0\.1 to 5"):
        check_controls(cubics, {"x_range": 6})


@pytest.mark.parametrize("name", ["cubics", "knots", "series"])
def test_every_control_refuses_what_is_beyond_its_range(name: str) -> None:
    cls = find_source(name)
    for control in cls.controls:
        for wrong in ("nonsense", *((control.range[0] - 1, control.range[1] + 1) if control.range else ())):
            with pytest.raises(ControlError, match=control.name):
                check_controls(cls, {control.name: wrong})


def test_a_source_that_cannot_branch_says_so(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FILE)
    made = find_source("mine.py", tmp_path)(0, {})
    with pytest.raises(SourceError, match="ramp keeps no snapshots"):
        made.snapshot()
    with pytest.raises(SourceError, match="ramp keeps no snapshots"):
        made.restore(b"")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("my.py", ("my.py", "")),
        ("/home/me/.pyenv/my.py:Class", ("/home/me/.pyenv/my.py", "Class")),
        ("a.py/b.python/c.py", ("a.py/b.python/c.py", "")),
        ("cubics", None),
        ("two.pyc", None),
        ("my.py:two words", None),
    ],
)
def test_a_path_is_told_from_a_name(name: str, expected: tuple[str, str] | None) -> None:
    assert split_source_path(name) == expected


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ('channels = ["x"]', "channels must be Channels"),
        ('channels = (Channel("x", "x"), Channel("x", "y"))', "of different names"),
        ('channels = (Channel("x", "x", range=(0, float("inf"))),)', "two finite numbers"),
        ('controls = (Control("a", "b", 1.0),)', "declare its range or its choices"),
        ('inputs = {"data": "a file"}', "inputs must be Inputs by name"),
        ("raise SystemExit(0)", "SystemExit"),
    ],
)
def test_broken_declarations_are_one_line(tmp_path: Path, declared: str, said: str) -> None:
    (tmp_path / "bad.python").mkdir()
    file = tmp_path / "bad.python" / "bad.py"
    file.write_text(
        "from pieces.signals import Channel, Control\nfrom pieces.source import Source\n"
        f"class Bad(Source):\n    name = about = 'bad'\n    {declared}\n    def step(self, controls, events, n): ...\n"
    )
    with pytest.raises(SourceError, match=said):
        find_source(str(file))
