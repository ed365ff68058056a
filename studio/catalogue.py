"""What the studio tells of its sources, pieces and takes: plain data for ``--json`` and text for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pieces.errors import DescantError
from pieces.form import Span, longest_form
from pieces.piece import Part, Piece, find_piece, piece_names
from pieces.source import find_source, nearest, source_names
from studio.console import table

if TYPE_CHECKING:
    from db.archive import Archive, TakeRecord
    from sonify.effects import Effect
    from sonify.instruments import Instrument
    from studio.audience.attending import Visit
    from studio.audience.loop import Round
    from studio.replay import Verdict


@dataclass(frozen=True)
class Card:
    """One thing, told twice."""

    data: dict[str, Any]
    text: str


def source_list() -> list[dict[str, Any]]:
    """All sources, a row each."""
    rows = []
    for name in source_names():
        cls = find_source(name)
        rows.append({"name": name, "about": cls.about, "controls": len(cls.controls), "clocked": cls.clocked})
    return rows


def openable(names: Iterable[str]) -> list[tuple[str, str, str]]:
    """Name, title and what it is of every source that can be opened as it is; one that does not load is left out."""
    found = []
    for name in names:
        with suppress(DescantError):
            cls = find_source(name)
            if not cls.inputs:
                found.append((name, cls.name, cls.about))
    return found


def source_card(name: str, base: Path | None = None) -> Card:
    """Channels, controls, events, inputs and references of one source; `base` is as in `find_source`."""
    cls = find_source(name, base)
    channels = [{**asdict(c), "range": list(c.range), "shape": list(c.shape)} for c in cls.channels]
    controls = [asdict(c) for c in cls.controls]
    data = {
        "name": cls.name,
        "about": cls.about,
        "clocked": cls.clocked,
        "channels": channels,
        "controls": controls,
        "inputs": {k: asdict(v) for k, v in cls.inputs.items()},
        "listens": dict(cls.listens),
        "emits": dict(cls.emits),
        "references": list(cls.references),
    }
    lines = [f"{cls.name}: {cls.about}", "", "channels" if channels else "channels: those of its input"]
    lines += _table([(c.name, f"{c.range[0]:g}..{c.range[1]:g} {c.unit}".rstrip(), c.about) for c in cls.channels])
    lines += ["", "controls"] if controls else []
    lines += _table(
        (c.name, f"{c.default}", ", ".join(c.choices) if c.range is None else _span(*c.range, c.unit), c.about)
        for c in cls.controls
    )
    inputs = {k: f"({v.kind}) {v.about}" for k, v in cls.inputs.items()}
    sections = (("inputs", inputs), ("listens to", cls.listens), ("events", cls.emits))
    for title, entries in sections:
        if entries:
            lines += ["", title, *_table(entries.items())]
    lines += ["", "references", *(f"  {r}" for r in cls.references)] if cls.references else []
    return Card(data, "\n".join(lines))


def _span(low: float, high: float, unit: str) -> str:
    return f"{low:g}..{high:g} {unit}".rstrip()


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    return table(rows, "  ")


def piece_list() -> list[dict[str, Any]]:
    """All built-in pieces, a row each."""
    rows = []
    for name in piece_names():
        piece, _ = find_piece(name)
        rows.append({"name": name, "title": piece.title, "about": piece.about, "seconds": _seconds(piece)})
    return rows


def _seconds(piece: Piece) -> float:
    return longest_form(piece).spans[-1].seconds[1]


def piece_card(piece: Piece) -> Card:
    """A piece's programme note, parts, voices and knobs."""
    lines = [piece.title, "", piece.about.strip(), "", "parts"]
    lines += _table((name, part.source, _clock(part)) for name, part in piece.parts.items())
    if piece.sections:
        form = longest_form(piece)
        tempo = f"{piece.metre.tempo:g} beats a minute, {piece.metre.beats} a bar"
        lines += ["", f"sections, {_minutes(form.spans[-1].seconds[1])} at most ({tempo})"]
        lines += _table((_minutes(s.seconds[0]), s.section.name, ", ".join(s.ticks), _ends(s)) for s in form.spans)
    lines += ["", f"voices (purpose {piece.score.get('purpose', 'measure')})"]
    lines += _table(
        (k, str(v.get("instrument", "")), ", ".join(_lanes(v))) for k, v in piece.score.get("voices", {}).items()
    )
    if piece.knobs:
        lines += ["", "knobs", *_table((k.path, k.allowed, k.shape) for k in piece.knobs)]
    master = piece.master
    lines += ["", f"picture {piece.picture.view}; {master.loudness:g} LUFS, at most {master.ceiling:g} dBTP"]
    return Card(piece.model_dump(mode="json"), "\n".join(lines))


def _clock(part: Part) -> str:
    return f"{part.rate:g} ticks/s" if part.rate is not None else f"{part.per_beat:g} ticks/beat"


def _minutes(seconds: float) -> str:
    return f"{round(seconds) // 60}:{round(seconds) % 60:02d}"


def _ends(span: Span) -> str:
    return f"until {span.section.until}" if span.section.until else ""


def _lanes(voice: dict[str, Any]) -> list[str]:
    lanes = voice.get("lanes", {})
    return [f"{k} ← {v['channel']}" for k, v in lanes.items() if isinstance(v, dict) and "channel" in v]


def piece_toml(name: str) -> str:
    """The piece as a file for editing: a library piece as it was written, with its comments."""
    from pieces.piece import ALIASES, library

    written = library().get(ALIASES.get(name, name))
    return written if written is not None else find_piece(name)[0].to_toml()


def instrument_list() -> list[dict[str, Any]]:
    """All instruments and effects, a row each."""
    from sonify.effects import EFFECTS
    from sonify.instruments import INSTRUMENTS

    sounds = [
        {"name": i.name, "kind": "struck" if i.on_events else "drone", "about": i.about} for i in INSTRUMENTS.values()
    ]
    return sounds + [{"name": e.name, "kind": "effect", "about": e.about} for e in EFFECTS.values()]


def instrument_card(name: str) -> Card:
    """The parameters of an instrument or an effect."""
    from sonify.effects import EFFECTS
    from sonify.instruments import INSTRUMENTS

    known: dict[str, Instrument | Effect] = {**INSTRUMENTS, **EFFECTS}
    if name not in known:
        raise DescantError(f"no instrument or effect {name!r}{nearest(name, known)}")
    found = known[name]
    data = {"name": name, "about": found.about, "parameters": [asdict(p) for p in found.parameters.values()]}
    rows = ((p.name, _span(*p.range, p.unit), f"{p.default:g}", p.about) for p in found.parameters.values())
    return Card(data, "\n".join([f"{name}: {found.about}", "", *_table(rows)]))


def take_list(archive: Archive, **wanted: Any) -> list[dict[str, Any]]:
    """A page of takes, newest first."""
    return [asdict(row) for row in archive.takes(**wanted)]


def take_card(archive: Archive, name: str) -> Card:
    """Everything about a take but its frames."""
    take = archive.take(name)
    data = asdict(take)
    data |= {"piece": take.piece_name, "composition": take.piece, "parents": [p.take_id for p in take.parents]}
    data["lineage"] = [p._asdict() for p in take.parents]
    del data["piece_name"]
    data["media"] = [{**asdict(m), "path": str(m.path)} for m in archive.media(take.id)]
    data["visits"] = [asdict(v) for v in archive.visits(take.id)]
    data["proposal"] = asdict(archive.proposal(take.proposal_id)) if take.proposal_id else None
    rows = [
        ("take", take.id),
        ("piece", f"{take.piece_name} ({take.piece['title']})"),
        ("status", take.status + (f": {take.error}" if take.error else "")),
        ("created", take.created),
        ("length", f"{take.duration_s:.1f} s, seed {take.seed}"),
        *(("part", f"{name}: {part.ticks} ticks at {part.rate:g}/s") for name, part in take.parts.items()),
        ("kept as", f"{take.retention}, {take.origin}"),
        *_labels(take),
        *(("control", f"{part}.{k} = {v}") for part, controls in take.controls.items() for k, v in controls.items()),
        *([("sound", _sound(take.render))] if take.render else []),
        *((m["role"], m["path"]) for m in data["media"]),
        *(("parent", f"{parent.take_id} ({parent.relation})") for parent in take.parents),
        *([("because", data["proposal"]["reason"])] if data["proposal"] else []),
        *(("visit", _visit(v)) for v in data["visits"]),
        ("signals", take.signals_hash or "(not finished)"),
    ]
    lines = table(rows)
    return Card(data, "\n".join(lines))


def _labels(take: TakeRecord) -> list[tuple[str, str]]:
    stars = "" if take.rating is None else "*" * take.rating or "no star"
    rows = (("title", take.title), ("stars", stars), ("tags", " ".join(take.tags)), ("notes", take.notes))
    return [(name, text) for name, text in rows if text]


def _visit(visit: dict[str, Any]) -> str:
    progress, rating = visit["progress"], visit["rating"]
    told = f"rating {rating}" if progress is None else f"progress {progress:+.3f} nats/token"
    return f"{visit['visitor']}: {told}, {visit['verdict']}"


def _sound(render: Any) -> str:
    line = f"{render['duration_s']:.1f} s, {render['loudness']:.1f} LUFS, {render['true_peak']:.1f} dBTP"
    return line + ("; the true-peak ceiling kept it below its declared loudness" if render["limited"] else "")


def take_files(archive: Archive, take_id: str, written: list[Path]) -> str:
    """A take's id and where its files are, as `compose` prints them."""
    take = archive.take(take_id)
    rows = [("take", take.id), *([("sound", _sound(take.render))] if take.render else [])]
    kept = [(m.role, str(m.path)) for m in archive.media(take.id) if m.role in ("mix", "sheet", "film")]
    return "\n".join(table([*rows, *(("file", str(p)) for p in written)] if written else [*rows, *kept]))


def verdict_text(verdict: Verdict) -> str:
    """What a replay found."""
    said = {True: "the same, bit for bit", False: "not the same", None: "none: the take has no sound yet"}
    rows = [
        ("take", verdict.take_id),
        ("signals", f"{said[verdict.signals]} ({verdict.ticks} ticks)"),
        ("samples", said[verdict.samples]),
        *(("drift", str(d)) for d in verdict.drift),
        *(("machine", c) for c in verdict.changed),
    ]
    return "\n".join(table(rows))


def round_text(step: Round) -> str:
    """One round of the loop."""
    lines = [f"round {step.number}  take {step.take_id}", *visit_lines(step.visit)]
    progress = step.visit.transcript.report.progress
    if step.visit.rating is None and progress is not None and progress < 0:
        lines += ["  progress below 0 counts as 0: the steerer is told 0"]
    if step.proposal:
        lines += [f"  next: {changed(step.proposal.changes) or 'the same again'}", f"  because {step.proposal.reason}"]
    return "\n".join(lines)


def changed(changes: Mapping[str, Any]) -> str:
    """What of a piece is changed, by the whole path of each: of two voices the same end would not say which."""
    return ", ".join(f"{path} = {f'{v:.4g}' if isinstance(v, float) else v}" for path, v in changes.items())


def visit_lines(visit: Visit) -> list[str]:
    """What came of a visit."""
    report, deeds = visit.transcript.report, visit.deeds
    said = [f"progress {report.progress:+.3f} nats a token"] if report.progress is not None else []
    said += [report.verdict] if report.verdict else []
    said += [f"rating {10 * visit.rating:.3g} of 10"] if visit.rating is not None else []
    said += [f"wishes {', '.join(deeds.wishes)}"] if deeds.wishes else []
    said += [f"said {', '.join(deeds.sayings)}"] if deeds.sayings else []
    heard = sum(turn.count for turn in visit.transcript.turns)
    said += [f"{heard} moment{'s' * (heard != 1)} of 0.5 s", visit.transcript.ended]
    for asked in visit.transcript.answers:
        if asked.about == "choose":
            right = "its own" if asked.chosen == asked.facts["own"] else f"not its own, which is {asked.facts['own']}"
            said += [f"in the mirror it chose {asked.chosen} of {asked.facts['curves']} curves: {right}"]
    return [f"  {visit.transcript.visitor}: {', '.join(said)}"]
