"""A report says what the analysis found, the same in HTML and Markdown, and nothing in it can do anything."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image

from db.audience import AnnotationRecord, DeviationRecord
from pieces.errors import DescantError
from studio.experiment.analysis import analysed
from studio.experiment.document import Heading, Items, Table, Text, markdown, page
from studio.experiment.freezing import Namesake
from studio.experiment.plots import PRIMARY, QUIET
from studio.experiment.report import write
from studio.experiment.verdicts import interval, probability, sentence, silence, worth
from tests.studio.experiment.simulated import DRAWS, HEARS, RAW, Mind, design, listeners, study

#: What a model, or anybody, may say; nothing of it may work.
EVIL = (
    "<script>alert(1)</script><img src=x onerror=alert(1)> \x1b[31mred\x1b[0m \u202egnp.exe\u2066 `code` **bold** "
    "[link](javascript:alert(1)) ![x](http://evil.example/x.png) https://evil.example www.evil.example | a | b |\n"
    "# heading\n- item &lt;script&gt; $x^2$ \x07\x9b31m a@evil.example"
)
TAGS = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "ul", "li", "div", "table", "caption",
    "thead", "tbody", "tr", "th", "td", "figure", "img", "figcaption",
}  # fmt: skip


class Seen(HTMLParser):
    """What a browser would make of a page: tags, attributes, cells of tables, texts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.tables, self.texts, self.pictures = set(), set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.pictures += [value for name, value in attrs if name == "src"]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_data(self, data):
        self.texts.append(data)
        if self.lasttag in ("td", "th") and self.tables and self.tables[-1] and self.tables[-1][-1]:
            self.tables[-1][-1][-1] += data


def seen(folder):
    """A report's page, and its Markdown as a browser would show it."""
    rendered = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render((folder / "report.md").read_text())
    return Seen((folder / "report.html").read_text()), Seen(rendered)


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    results = analysed(study(HEARS), DRAWS)
    folder = tmp_path_factory.mktemp("report")
    return results, folder, write(results, folder)


def test_numbers_in_html_markdown_and_analysis_agree(reported):
    results, folder, _ = reported
    html, marked = seen(folder)
    tables, same = (
        [[[cell.strip() for cell in row] for row in table] for table in one.tables] for one in (html, marked)
    )
    assert tables == same
    assert ["adjusted p" in table[0] for table in tables] == [True, *[False] * (len(tables) - 1)], "there is one table"
    told = {row[0]: row for row in tables[0]}
    said = {row[0]: row[-2:] for table in tables for row in table if table[0][-2] == "what it says"}
    assert {*told} - {"outcome"} == {one.outcome for one in results.findings} == {*said} - {"outcome", "control"}
    for one in results.findings:
        row = told[one.outcome]
        assert row[2] == worth(one)
        numbers = [float(number) for number in re.findall(r"(?<!d)-?\d+\.\d+", row[2])]
        ends = (one.estimate.value, one.estimate.low, one.estimate.high)
        if one.discrimination is not None:
            ends = (one.discrimination.dprime, one.discrimination.low, one.discrimination.high)
        assert numbers == pytest.approx(ends, abs=0.0051)
        assert row[5:] == [str(one.estimate.trials), probability(one.p), probability(one.adjusted), one.verdict]
        assert said[one.outcome] == [sentence(one, results), silence(one)]
    control = next(row for table in tables for row in table if row[0] == "prefer/blind" and len(row) == 5)
    assert control[1] == interval(results.of("control")[0].equivalence.estimate)


def test_the_table_begins_with_what_must_hold(reported):
    results, folder, _ = reported
    roles = [row[1] for row in seen(folder)[0].tables[0][1:]]
    assert list(dict.fromkeys(roles)) == ["control", "positive control", "primary", "exploratory"]
    assert len(roles) == len(results.findings)


def test_a_reader_is_told_who_attended_what_and_how_it_was_computed(reported):
    results, folder, _ = reported
    html, _ = seen(folder)
    design = results.study.design
    told = {cell for table in html.tables for row in table for cell in row}
    assert {*(a.name for a in design.audiences), *(a.visitor for a in design.audiences)} <= told
    assert {*(w.name for w in design.works), "cubics"} <= told
    text = " ".join(html.texts)
    for word in (
        "Student's t",
        "Clopper",
        "pigeonhole",
        "Satterthwaite",
        "two one-sided tests",
        "Holm",
        "Hochberg",
        "Hautus",
        "differencing",
    ):
        assert word in text
    assert "6 audiences × 6 works × 3 wordings. 3024 of 3024 trials were analysed" in text


def test_what_is_claimed_stands_at_the_top_and_controls_before_results(reported):
    results, folder, _ = reported
    text = (folder / "report.md").read_text()
    heads = re.findall(r"^## (.*)$", text, re.M)
    assert heads == [
        "The study in one table", "What was frozen, and when", "Who attended what", "Controls", "Primary outcomes",
        "Figures", "Audience by audience", "Exploratory outcomes", "Learning progress", "Trials and costs", "Methods",
        "Limits", "Facts that coders noted", "Interpretations",
    ]  # fmt: skip
    assert "Does the form matter?" in text
    assert text.index("Shown.") < text.index("## What was frozen")
    assert results.study.record.hash in text
    assert "3 of wording, fewer than 5: hardly anything generalises over wording" in text
    assert "3024 trials were planned, 3024 are over, 3024 were analysed" in text
    assert "| all | 3024 | 302400 | 3.0240 | 1512.0 |" in text


@pytest.mark.parametrize(
    ("mind", "word"),
    [
        (Mind({"shuffled": 0.75, "blind": 0.75}, 0.95), "Void."),
        (Mind({"shuffled": 0.5}, 0.95), "Not shown."),
        (Mind({"shuffled": 0.5}, 0.95, side=0.95), "Not shown."),
        (Mind({"shuffled": 0.75}, 0.5), "Provisional."),
    ],
)
def test_the_verdict_is_that_of_the_study(tmp_path, mind, word):
    write(analysed(study(mind), DRAWS), tmp_path)
    first = (tmp_path / "report.md").read_text().split("**")[1]
    assert first.startswith(word)
    assert first in " ".join(Seen((tmp_path / "report.html").read_text()).texts).replace("<", r"\<").replace(
        "[", r"\["
    ).replace("]", r"\]")


def test_figures_are_drawn_and_lie_in_the_page(reported):
    _, folder, paths = reported
    assert sorted(path.name for path in paths) == sorted(path.name for path in folder.iterdir())
    html, marked = seen(folder)
    pictures = [base64.b64decode(src.removeprefix("data:image/png;base64,")) for src in html.pictures]
    assert [picture == (folder / name).read_bytes() for picture, name in zip(pictures, marked.pictures, strict=True)]
    assert marked.pictures == ["estimates.png", "hearing.png", "preferences.png", "habits.png"]
    for name in marked.pictures:
        with Image.open(folder / name) as picture:
            assert picture.width > 1000
            assert len(picture.convert("RGB").getcolors(1 << 20)) > 50


def test_a_forest_moves_with_the_estimates(reported):
    """The mark of the primary outcome is drawn where its estimate is."""
    import numpy as np

    results, folder, _ = reported
    with Image.open(folder / "estimates.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    primary, stroke = (tuple(bytes.fromhex(colour[1:])) for colour in (PRIMARY, QUIET))
    row = (np.abs(pixels - primary).sum(axis=2) < 12).any(axis=1)
    pixels = pixels[row]  # that of the primary outcome; without the axis on its left
    columns = np.flatnonzero((np.abs(pixels - primary).sum(axis=2) < 12).any(axis=0))
    bars = np.flatnonzero((np.abs(pixels - stroke).sum(axis=2) < 30).any(axis=0))
    one = results.of("primary")[0].estimate
    # From the strokes at 0.5 and the ends of the interval follows the scale.
    scale = (columns[-1] - columns[0]) / (one.high - one.low)
    assert np.abs(bars - (columns[0] - (one.low - 0.5) * scale)).min() < 12


def test_the_listeners_progress_has_its_own_table(tmp_path):
    results = analysed(listeners(6, prefers=0.5), DRAWS)
    write(results, tmp_path)
    text = (tmp_path / "report.md").read_text()
    progress = text.split("## Learning progress")[1].split("\n## ")[0]
    assert "It is no liking" in progress
    assert "| model 0 | prefer/shuffled | 72 | 0.500 | 0.200 | 0.300" in progress
    assert "nats" not in text.replace(progress, "")
    assert text.split("**")[1].startswith("By learning progress, which is no preference:")
    assert "learning progress, not liking" in text.split("## Audience by audience")[1].split("\n## ")[0]


def evil_study():
    made = study(HEARS, found=design(question=EVIL, hypotheses={"H1": EVIL}, arms={"neutral": "", "evil": EVIL}))
    rows = [dict(row) for row in made.rows]
    for row in rows[:3]:
        row |= {"status": "failed", "error": EVIL, "excluded": "failed"}
    told = {"author": EVIL, "text": EVIL}
    return replace(
        made,
        rows=tuple(rows),
        deviations=(DeviationRecord(number=1, created="2026-11-22T11", changes={"changed": {EVIL: [1, 2]}}, **told),),
        annotations=tuple(
            AnnotationRecord(transcript_id="0190-t", kind=kind, tag="odd", blind=kind == "fact", **told)
            for kind in ("fact", "interpretation")
        ),
    )  # fmt: skip


def test_what_anybody_says_is_inert(tmp_path):
    write(analysed(evil_study(), DRAWS), tmp_path)
    html, marked = seen(tmp_path)
    assert html.tags <= TAGS
    assert html.attributes <= {
        "lang",
        "charset",
        "name",
        "content",
        "http-equiv",
        "class",
        "scope",
        "alt",
        "src",
        "data-label",
    }
    assert all(source.startswith("data:image/png;base64,") for source in html.pictures)
    assert marked.tags <= TAGS | {"strong"}
    assert marked.attributes <= {"alt", "src"}
    assert marked.pictures == ["estimates.png", "hearing.png", "preferences.png", "habits.png"]
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text()
        assert not set(text) & {*map(chr, range(9)), "\x1b", "\x9b", "\x07", "\u202e", "\u2066"}
    for one in (html, marked):
        assert " ".join(one.texts).count("<script>alert(1)</script>") >= 8  # it is all there, to be read


def test_facts_stand_apart_from_interpretations_each_with_its_author(tmp_path):
    made = study(HEARS)
    notes = (
        AnnotationRecord(transcript_id="t1", author="Ada", kind="fact", tag="press", text="It pressed.", blind=True),
        AnnotationRecord(
            transcript_id="t2", turn=3, author="Bo", kind="interpretation", tag="bored", text="It yawned."
        ),
    )
    write(analysed(replace(made, annotations=notes), DRAWS), tmp_path)
    text = (tmp_path / "report.md").read_text()
    facts, meant = text.split("## Facts that coders noted")[1].split("## Interpretations")
    assert "Ada, blind to the condition (transcript t1; press): It pressed." in facts
    assert "Bo, knowing the condition (transcript t2, turn 3; bored): It yawned." in meant
    assert ("Bo" in facts, "Ada" in meant) == (False, False)


def test_a_changed_analysis_is_said(tmp_path):
    made = study(HEARS)
    record = replace(made.record, design={"design": made.design.model_dump(mode="json")})
    late = design(analysis={"primary": ["prefer/silent"]}, exclusions={"max_flips": 0.1})
    write(analysed(replace(made, record=record, design=late), DRAWS), tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "- Primary: prefer/shuffled." in text
    assert "- analysis: changed after it was frozen; it was analysed as it was frozen" in text
    assert "- exclusions: changed after it was frozen; trials were excluded as it was frozen" in text


def test_what_stood_behind_the_names_of_models_when_it_was_frozen_is_told(tmp_path):
    made = study(HEARS)
    more = {"descant": "9.9", "libraries": {"torch": "8.8"}, "audiences": {"model 0": "sha256:5ca1ab1e"}}
    record = replace(made.record, design={**made.record.design, **more})
    write(analysed(replace(made, record=record), DRAWS), tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "- Versions: descant = 9.9, torch = 8.8." in text
    assert "| model 0 | hf:/models/0 | sha256:5ca1ab1e | numbers |" in text
    assert "| model 1 | hf:/models/1 | \\- | numbers |" in text


def test_what_would_be_by_the_changed_rules_stands_apart(tmp_path):
    """Under the deviations, with no verdict; what was frozen under the same name is told."""
    made = study(HEARS)
    rows = [{**row, "excluded_now": "max_flips" if row["work"] == "w0" else ""} for row in made.rows]
    told = DeviationRecord(
        number=1, created="2026-11-22T11", author="Ada", text="why", changes={"changed": {"a": [1, 2]}}
    )
    other = Namesake("0189-first", "cd" * 32, "2026-11-21T10:00:00", 40, 38, 2)
    write(analysed(replace(made, rows=tuple(rows), deviations=(told,), namesakes=(other,)), DRAWS), tmp_path)
    text = (tmp_path / "report.md").read_text()
    frozen, rest = text.split("### Deviations")
    assert "with another content: 2026-11-21, cdcdcdcdcdcd: 38 of 40 trials done, 2 failed." in frozen
    table = next(part for part in rest.split("\n\n") if part.startswith("| outcome"))
    assert re.search(r"\| prefer/shuffled \| 0\.\d+ .*\| 360 \|", table)
    assert "Shown" not in table
    assert rest.index("nothing is claimed by it") < rest.index("## Who attended what")


def test_failures_and_tokens_are_told_by_condition(tmp_path):
    made = study(HEARS)
    silent = [row for row in made.rows if row["outcome"] == "prefer/silent"]
    for row in silent:
        row["tokens"] = 250.0
    for row in silent[:3]:
        row |= {"status": "failed", "error": "no answer", "excluded": "failed"}
    write(analysed(made, DRAWS), tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "| prefer/silent | 432 | 3 | 0.7% | 0 | 250 |" in text
    assert "| prefer/shuffled | 432 | 0 | 0.0% | 0 | 100 |" in text


def contrast(one, other):
    """WCAG 2.2, contrast ratio of two colours as ``#rrggbb``."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_a_cell_knows_its_column_where_there_is_no_room_for_a_head(reported):
    """On a phone tables are cards; on paper nothing is cut off."""
    text = (reported[1] / "report.html").read_text()
    tables = re.findall(r"<table>.*?</table>", text, re.S)
    assert len(tables) > 8
    for table in tables:
        head = re.findall(r'<th scope="col">(.*?)</th>', table)
        for row in re.findall(r"<tr>(<td.*?)</tr>", table, re.S):
            assert re.findall(r'<td data-label="(.*?)">', row) == head
    narrow, paper = text.split("@media screen and (max-width")[1].split("@media print")
    assert "content: attr(data-label)" in narrow
    assert "overflow: visible" in paper


def test_text_can_be_read_in_light_and_in_dark(reported):
    style = (reported[1] / "report.html").read_text().split("<style>")[1].split("</style>")[0]
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6})", part)) for part in style.split("@media")[:2])
    assert contrast(light["ground"], dark["ground"]) > 15
    for theme in (light, dark):
        assert contrast(theme["ink"], theme["ground"]) > 7
        assert contrast(theme["quiet"], theme["ground"]) > 4.5


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(DescantError, match="cannot be made"):
        write(analysed(study(HEARS, found=design(works=RAW["works"][:2], wordings=["plain"])), 100), blocked)
    open_one = tmp_path / "open"
    (open_one / "report.md").mkdir(parents=True)
    with pytest.raises(DescantError, match=r"report\.md: the report cannot be written"):
        write(analysed(study(HEARS, found=design(works=RAW["works"][:2], wordings=["plain"])), 100), open_one)
    assert not [path for path in open_one.iterdir() if path.name.endswith(".part")]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.text(st.characters(codec="utf-8") | st.sampled_from("<>&|*_`[]()#!$~\\\"'-+=1.)@:/ \n")), min_size=1)
)
def test_any_text_comes_out_as_itself_and_as_text(texts):
    from studio.audience.text import plain

    blocks = [Heading("x"), *(Text(text) for text in texts), Items(texts), Table(("a", "b"), [(t, "z") for t in texts])]
    html = Seen(page("title", blocks))
    marked = Seen(MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(markdown(blocks)))
    assert html.tags <= TAGS
    assert marked.tags <= TAGS
    shown = [plain(text, 4000) for text in texts]
    assert [row[0] for row in html.tables[0][1:]] == shown
    assert [row[0].strip() for row in marked.tables[0][1:]] == shown
