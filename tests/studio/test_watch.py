"""The editor's command line, and saves that are noticed however an editor writes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pieces.errors import DescantError
from studio.watch import Watch, editing

PATH = Path("/a folder/my.toml")


def having(*programs: str) -> Callable[[str], str | None]:
    return lambda name: f"/usr/bin/{name}" if Path(name).name in programs else None


@pytest.mark.parametrize(
    ("environment", "programs", "command", "takes_terminal"),
    [
        ({"VISUAL": "vim -n", "EDITOR": "nano"}, ("vim", "nano"), ("vim", "-n", str(PATH)), True),
        ({"EDITOR": "nano"}, ("nano",), ("nano", str(PATH)), True),
        ({}, ("vi",), ("vi", str(PATH)), True),
        ({"EDITOR": "/opt/code --wait", "DISPLAY": ":0"}, ("code", "xterm"), ("/opt/code", "--wait", str(PATH)), False),
        ({"EDITOR": "vi", "DISPLAY": ":0"}, ("vi", "xterm"), ("xterm", "-e", "vi", str(PATH)), False),
        ({"EDITOR": "vi", "DISPLAY": ":0"}, ("vi",), ("vi", str(PATH)), True),
        (
            {"EDITOR": "vi", "TMUX": "socket,1,0", "DISPLAY": ":0"},
            ("vi", "tmux", "xterm"),
            ("tmux", "split-window", "-h", "vi '/a folder/my.toml'"),
            False,
        ),
    ],
)
def test_the_editor_opens_beside_the_studio_where_it_can(
    environment: dict[str, str], programs: tuple[str, ...], command: tuple[str, ...], takes_terminal: bool
) -> None:
    found = editing(PATH, environment, having(*programs))
    assert (found.command, found.takes_terminal) == (command, takes_terminal)


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({}, "no editor: name one in EDITOR"),
        ({"EDITOR": "gone"}, "EDITOR = 'gone': no such program"),
        ({"VISUAL": "vi '"}, 'VISUAL = "vi \'": cannot be read as a command'),
    ],
)
def test_no_editor_is_one_line(environment: dict[str, str], line: str) -> None:
    with pytest.raises(DescantError, match=line):
        editing(PATH, environment, having())


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def by_renaming(path: Path, text: str) -> None:
    """As vim does: the old one away, a new one in its place."""
    path.rename(f"{path}~")
    path.write_text(text)


def by_replacing(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def by_a_real_editor(path: Path, text: str) -> None:
    if shutil.which("ed") is None:
        pytest.skip("ed is not installed")
    subprocess.run(["ed", "-s", path], input=f",c\n{text}.\nw\nq\n", text=True, check=True)


@pytest.mark.parametrize("save", [in_place, by_renaming, by_replacing, by_a_real_editor])
def test_a_save_is_told_once(tmp_path: Path, save: Callable[[Path, str], None]) -> None:
    path = tmp_path / "my.toml"
    path.write_text("a = 1\n")
    watch = Watch(path)
    assert [watch.look() for _ in range(3)] == [None, None, None]
    save(path, "a = 2\nb = 3\n")
    assert [watch.look() for _ in range(4)] == [None, "a = 2\nb = 3\n", None, None]


def test_what_is_no_save_is_not_told(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text("a = 1\n")
    watch = Watch(path)
    os.utime(path)  # touched
    assert [watch.look() for _ in range(3)] == [None] * 3
    path.unlink()  # gone for a moment
    assert watch.look() is None
    path.write_text("a = ")  # half written: longer at every look
    assert watch.look() is None
    path.write_text("a = 2\n")
    assert watch.look() is None
    assert watch.look() == "a = 2\n"
    watch.expect("a = 3\n")  # our own
    path.write_text("a = 3\n")
    assert [watch.look() for _ in range(3)] == [None] * 3
    path.write_bytes(b"\xff\xfe\x00")
    assert [watch.look() for _ in range(2)] == [None, "\0"]
