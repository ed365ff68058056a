"""The README is true: its source performs, its commands exist, its table is complete."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from pieces.source import BUILT_IN
from studio.cli import descant as program

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_source_in_the_readme_performs(descant, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    (tmp_path / "my_source.py").write_text(code)
    assert descant("compose", "my_source.py", "--ticks", 60, "--quiet").stdout.strip()


@pytest.mark.parametrize("line", sorted(set(re.findall(r"^descant (.*?)(?:\s+#.*)?$", README, re.M))))
def test_every_command_of_the_readme_is_understood(line):
    command: click.Command = program
    words = line.split(" > ")[0].split()
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    command.make_context("descant", words, resilient_parsing=False)


def test_the_table_names_every_source_and_no_other():
    assert set(re.findall(r"^\| `(\w+)` \|", README, re.M)) == set(BUILT_IN)


def test_its_pictures_are_there():
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (Path(__file__).parents[2] / path).stat().st_size > 10_000
