"""The README is true: its source performs, its commands exist, its table is complete."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from pieces.source import BUILT_IN
from studio.cli import descant as program
from studio.experiment.design import parse

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = "".join((ROOT / "docs" / name).read_text() for name in ("minds.md", "audience.md", "experiments.md"))


def test_the_source_in_the_readme_performs(descant, tmp_path):
    code = next(c for c in re.findall(r"```python\n(.*?)```", README, re.S) if "class Logistic" in c)
    (tmp_path / "my_source.py").write_text(code)
    assert descant("compose", "my_source.py", "--ticks", 60, "--quiet").stdout.strip()


@pytest.mark.parametrize("line", sorted(set(re.findall(r"^descant (?!=)(.*?)(?:\s+#.*)?$", README + PAGES, re.M))))
def test_every_command_of_the_readme_is_understood(line):
    command: click.Command = program
    words = shlex.split(line.split(" > ")[0])
    while isinstance(command, click.Group):
        context = command.make_context("descant", words)
        _, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context("descant", words, resilient_parsing=False)


def test_the_table_names_every_source_and_no_other():
    assert set(re.findall(r"^\| `(\w+)` \|", README, re.M)) == set(BUILT_IN)


def test_the_python_call_of_the_readme_sounds():
    code = next(c for c in re.findall(r"```python\n(.*?)```", README, re.S) if "listen(" in c)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["heard"].samples.shape[1] == 2
    assert abs(names["heard"].samples).max() > 0.05


def test_the_piece_in_the_page_on_composing_performs(descant, tmp_path):
    (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/composing.md").read_text(), re.S)
    (tmp_path / "my.toml").write_text(text)
    take = descant("compose", "my.toml", "--seed", 3, "--quiet").stdout.strip()
    assert json.loads(descant("show", take, "--json").stdout)["duration_s"] > 25
    assert "bit for bit" in descant("replay", take, "--verify").stdout


def test_the_study_in_the_page_on_experiments_can_be():
    text = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/experiments.md").read_text(), re.S)
    assert len(text) == 2, "a study, and tables that it may have besides"
    design = parse(tomllib.loads("\n".join(text)), "study.toml")
    assert set(design.analysis.primary) < set(design.outcomes)


def test_its_pictures_are_there():
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (Path(__file__).parents[2] / path).stat().st_size > 10_000
