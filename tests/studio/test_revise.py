"""Changes of a piece: what they mean for who plays, and how they stand in the file."""

from __future__ import annotations

import copy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from pieces.errors import DescantError
from pieces.piece import ALIASES, PieceError, find_piece, library, parse_piece
from pieces.source import find_source
from studio.revise import Change, Paper, changed, checked, compared, planned

HERE = Path.cwd()
GAIN = "score.voices.{}.gain_db"


def plain(name: str) -> dict[str, Any]:
    piece, base = find_piece(name)
    return checked(name, piece.model_dump(), base).model_dump(mode="json")


def declared(raw: dict[str, Any]) -> dict[str, Any]:
    return {part: find_source(p["source"]).controls for part, p in raw["parts"].items()}


@pytest.mark.parametrize(
    ("path", "value", "change"),
    [
        ("parts.cubics.controls.learning_rate", 0.02, Change(controls={("cubics", "learning_rate"): 0.02})),
        ("score.voices.tone.gain_db", -7.5, Change(score=True)),
        ("master.loudness", -20.0, Change(later=("master",))),
        ("title", "Another", Change()),
        ("metre.tempo", 90.0, Change(reforms=True, restarts=True)),
        ("parts.cubics.rate", 10.0, Change(reforms=True, restarts=True)),
    ],
)
def test_what_a_change_means_for_who_plays(path: str, value: Any, change: Change) -> None:
    old = plain("cubics")
    voice = next(iter(old["score"]["voices"]))
    new = changed(old, path.replace(".tone.", f".{voice}."), value)
    assert compared(old, checked("x", new, HERE).model_dump(mode="json"), declared(old)) == change
    assert compared(old, old, declared(old)).nothing


def test_a_control_that_is_no_more_written_goes_back_to_its_default() -> None:
    old = plain("cubics")
    new = changed(old, "parts.cubics.controls.learning_rate", 0.02)
    back = compared(new, changed(new, "parts.cubics.controls.learning_rate", None), declared(old))
    default = next(c.default for c in find_source("cubics").controls if c.name == "learning_rate")
    assert back.controls == {("cubics", "learning_rate"): default}


def test_other_parts_and_another_form_need_another_performance() -> None:
    old = plain("canon")
    for path, value in (("sections.0.bars", 1.0), ("sections.0.name", "another")):
        assert compared(old, changed(old, path, value), declared(old)).restarts
    one = copy.deepcopy(old)
    one["parts"].pop(next(iter(one["parts"])))
    assert compared(old, one, declared(old)).restarts


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("nothing.here", 1, "nothing.here: no 'nothing'"),
        ("score.voice.x.gain_db", 1, "no 'voice'; did you mean 'voices'"),
        ("title.of", 1, "title"),
        ("parts.cubics.controls.learning_rate", 99.0, "learning_rate = 99.0: allowed are numbers from"),
        ("parts.cubics.controls.nope", 1.0, "no control 'nope'"),
        ("score.voices.VOICE.gain_db", "loud", "gain_db"),
        ("score.voices.VOICE.instrument", "piano", "piano"),
        ("score.voices.VOICE.lanes.pitch", {"channel": "los", "range": [200, 400]}, "did you mean 'loss'"),
    ],
)
def test_what_is_wrong_is_one_line(path: str, value: Any, line: str) -> None:
    old = plain("cubics")
    voice = next(iter(old["score"]["voices"]))
    before = copy.deepcopy(old)
    with pytest.raises(DescantError, match=line) as error:
        checked("x", changed(old, path.replace("VOICE", voice), value), HERE)
    assert "\n" not in str(error.value)
    assert old == before


def test_a_foreign_source_is_not_read_here(tmp_path: Path) -> None:
    """Whatever one loads as soon as it is read, this process stays without it."""
    (tmp_path / "mine.py").write_text(
        "import ensurepip, numpy as np\n"
        "from pieces.signals import Channel, Control, FrameBlock\nfrom pieces.source import Source\n"
        "class Mine(Source):\n    name, about = 'mine', 'x'\n    channels = (Channel('x', 'x'),)\n"
        "    controls = (Control('a', 'a', 1.0, (0.0, 2.0)),)\n"
        "    def step(self, controls, events, n):\n        return FrameBlock(0, {'x': np.zeros(n, 'float32')})\n"
    )
    code = f"""
import sys
from pathlib import Path
from studio.revise import checked, planned
def main():
    base = Path({str(tmp_path)!r})
    pitch = dict(channel="x", range=[200, 400])
    parts = dict(m=dict(source="mine.py", rate=20, ticks=9))
    score = dict(voices=dict(a=dict(instrument="glide", lanes=dict(pitch=pitch))))
    piece = checked("mine", dict(title="m", parts=parts, score=score), base)
    found = planned("mine", piece, base)
    assert "ensurepip" not in sys.modules
    print(dict(found.players["m"].controls), sorted(found.files))
if __name__ == "__main__":
    main()
"""
    (tmp_path / "run.py").write_text(code)
    env = {"PYTHONPATH": str(HERE), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, tmp_path / "run.py"], capture_output=True, text=True, check=True, env=env, cwd=tmp_path
    )
    assert done.stdout.strip() == "{'a': 1.0} ['m.source code']"


def test_a_foreign_source_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("print('noise')\nraise ValueError('no colours')\n")
    score = {"voices": {"a": {"instrument": "glide"}}}
    raw = {"title": "m", "parts": {"m": {"source": "bad.py", "rate": 20, "ticks": 9}}, "score": score}
    with pytest.raises(DescantError, match=r"mine: .*no colours") as error:
        planned("mine", checked("mine", raw, tmp_path), tmp_path)
    assert "\n" not in str(error.value)


def test_what_the_file_says_beside_the_change_stays() -> None:
    text = library()["canon"]
    base = HERE
    old = plain("canon")
    voice = next(iter(old["score"]["voices"]))
    new = changed(changed(old, GAIN.format(voice), -12.5), "master.tail", 2.25)
    written = Paper(text, old).written(new, base)
    assert "#" in text
    assert [line for line in written.splitlines() if "#" in line] == [line for line in text.splitlines() if "#" in line]
    assert parse_piece(tomllib.loads(written), "x").score["voices"][voice]["gain_db"] == -12.5
    lines = set(written.splitlines()) ^ set(text.splitlines())
    assert len(lines) <= 4, lines


@settings(max_examples=25)
@given(st.data())
def test_any_change_of_any_piece_is_written_so_that_it_is_read_again(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["canon", "strata", "cubics", "knots", "digits", "castro"]))
    old = plain(name)
    new = old
    for _ in range(data.draw(st.integers(1, 4))):
        voices = sorted(new["score"]["voices"])
        voice = data.draw(st.sampled_from(voices))
        kind = data.draw(st.sampled_from(["gain", "drop", "pan", "tempo", "title", "tail", "bars", "lane"]))
        if kind == "gain":
            new = changed(new, GAIN.format(voice), data.draw(st.floats(-40, 6)))
        elif kind == "drop":
            new = changed(new, f"score.voices.{voice}.gain_db", None)
        elif kind == "pan":
            new = changed(new, f"score.voices.{voice}.pan", data.draw(st.floats(-1, 1)))
        elif kind == "tempo":
            new = changed(new, "metre.tempo", data.draw(st.floats(20, 200)))
        elif kind == "title":
            new = changed(new, "title", data.draw(st.text(st.characters(exclude_categories=("C",)), min_size=1)))
        elif kind == "tail":
            new = changed(new, "master.tail", data.draw(st.floats(0, 9)))
        elif kind == "bars" and new["sections"] and not new["sections"][0]["warp"]:
            new = changed(new, "sections.0.bars", data.draw(st.floats(1, 9)))
        elif kind == "lane":
            new = changed(new, f"score.voices.{voice}.effects.hall", {"decay": data.draw(st.floats(0.5, 4))})
    base = HERE
    paper = Paper(library()[ALIASES.get(name, name)], old)
    try:
        checked(name, new, base)
    except DescantError:
        reject()  # a knob turned what is gone
    written = paper.written(new, base)
    again = checked(name, tomllib.loads(written), base)
    assert again.model_dump(mode="json") == parse_piece(new, name).model_dump(mode="json")


def test_planned_is_the_plan_of_a_built_in_piece() -> None:
    piece, base = find_piece("castro")
    found = planned("castro", piece, base)
    assert found.piece.hash == piece.hash
    with pytest.raises(PieceError):
        checked("x", {"title": "x"}, base)
