"""Any series in one call: what ``descant listen`` does, and the same for Python programs, without an archive.

from studio.listen import listen
heard = listen({"height": heights, "count": counts}, range=("C3", "C6"), duration=20, out="sounds")
"""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError
from pieces.piece import Master, Piece
from pieces.series import TAIL, PerColumn, Voicing, table_channels, table_columns, table_piece, table_score, ticks
from pieces.signals import Channel, FrameBlock, Value, gather
from pieces.tables import Table, read_table, table_of

if TYPE_CHECKING:
    from db.archive import Archive
    from pieces.arrange import Arrangement
    from sonify.legend import Row
    from sonify.render import Rendering
    from sonify.resolve import ResolvedScore

#: The part that a table is.
_PART = "series"
#: Seconds that a table may sound.
SHORTEST, LONGEST = 0.5, 3600.0


class ListenError(DescantError):
    """A wish that cannot be met."""


@dataclass(frozen=True, eq=False)
class Listened:
    """What was heard of a table.

    Attributes
    ----------
    samples : ndarray [n, 2]
        The mix, float32, full scale 1.
    rate : int
        Samples per second.
    caption : str
        What is heard, in words.
    timing : tuple of Row
        What happens when: seconds, what, channel, value.
    notices : tuple of str
        What was left out or changed, a line each.
    path : Path or None
        The mix as a WAV file; None if no folder was given.
    files : tuple of Path
        Everything that was written.
    """

    samples: NDArray[np.float32]
    rate: int
    caption: str
    timing: tuple[Row, ...]
    notices: tuple[str, ...] = ()
    path: Path | None = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Heard:
    """What a sound is made from: `channels` are by part and name, `samples` are the sound files of voices."""

    resolved: ResolvedScore
    played: Arrangement
    channels: Mapping[str, Mapping[str, Channel]]
    master: Master
    samples: Mapping[str, Path] = field(default_factory=dict)


def listen(
    data: Any,
    *,
    columns: Sequence[str] | None = None,
    range: PerColumn[tuple[Value, Value]] = ("A2", "A5"),
    domain: PerColumn[tuple[float, float] | str] = "data",
    shape: PerColumn[str] = "linear",
    polarity: PerColumn[str] = "positive",
    instrument: PerColumn[str] = "glide",
    scale: str | Mapping[str, Any] | None = None,
    duration: float = 30.0,
    out: str | Path | None = None,
    stems: bool = False,
    legend: bool = False,
    marks: float | None = None,
) -> Listened:
    """Hear numbers, a voice for each column: point i of N from ``i * duration / N`` to ``(i + 1) * duration / N`` s.

    Of more than 500 points a second the extremes of each stretch are heard, 200 a second, so that no spike is lost.

    Parameters
    ----------
    data : path, array_like, mapping or data frame
        A file (`pieces.tables.read_table`), or numbers in memory (`pieces.tables.table_of`).
    columns : sequence of str, optional
        Names of the wanted columns; default all that hold numbers.
    range, domain, shape, polarity, instrument, scale
        See `pieces.series.Voicing`: one for all columns, or a mapping from columns (``"*"``: all others) to their own.
    duration : float
        Seconds, 0.5 to 3600.
    out : path, optional
        Folder for the files; default none are kept.
    stems : bool
        Write every voice as a file of its own.
    legend : bool
        Write the sounded legend, the caption and the timing table.
    marks : float, optional
        Write the mix with a soft tick every so many seconds.

    Raises
    ------
    DescantError
        Whatever is wrong with data or wishes, in one line.
    """
    from studio.rendering import markers

    _check_files(out, duration, marks, wanted=stems or legend)
    table = read_table(data, columns) if isinstance(data, str | Path) else table_of(data, columns)
    voicing = Voicing(range, domain, shape, polarity, instrument, scale)
    notices = check(table, voicing, duration)
    heard = perform(table, voicing, duration)
    with tempfile.TemporaryDirectory(prefix="descant-") as folder:
        rendering = _render(heard, Path(folder), stems, markers(heard.played))
        samples, rate = _samples(rendering.mix)
        stem = Path(data).stem if isinstance(data, str | Path) else "series"
        path, files = _keep(heard, rendering, out, stem, legend=legend, marks=marks)
    said, rows = described(heard, rendering.duration, rendering.loudness)
    return Listened(samples, rate, said, rows, notices, path, files)


def _check_files(out: str | Path | None, duration: float, marks: float | None, *, wanted: bool) -> None:
    """See that what is to be written can be made, and has a folder."""
    from sonify.legend import marks as marked

    if marks is not None:
        marked(duration, marks)
    if out is None and (wanted or marks is not None):
        raise ListenError("stems, legend and marks are files: give the folder 'out'")


def _keep(
    heard: Heard, rendering: Rendering, out: str | Path | None, stem: str, *, legend: bool, marks: float | None
) -> tuple[Path | None, tuple[Path, ...]]:
    """Put what was rendered into a folder, with the guides that are wanted: the mix, and all files."""
    from studio.files import check_folder

    if out is None:
        return None, ()
    folder = check_folder(Path(out))
    path = folder / f"{stem}.wav"
    made = {path: rendering.mix}
    made |= {path.with_name(f"{stem}-stem-{voice}.wav"): at for voice, at in rendering.stems.items()}
    for there, here in made.items():
        shutil.move(here, there)
    guided = guides(heard, path, rendering.loudness, folder, stem, legend=legend, marks=marks)
    return path, (*made, *guided)


def piece_of(
    path: Path, columns: Sequence[str] | None, voicing: Voicing, duration: float
) -> tuple[Piece, tuple[str, ...]]:
    """The piece that ``descant listen`` performs, and what to say of its data, a line each."""
    table = read_table(path, columns)
    notices = check(table, voicing, duration)
    return table_piece(path, table, voicing, duration), notices


def parse_voicing(options: Mapping[str, Iterable[str]], scale: str | None = None) -> Voicing:
    """Options as they are written on a command line: ``value``, or ``column=value`` for one column.

    Parameters
    ----------
    options : mapping
        Name of an option of `Voicing` → what was given. A range is written ``C3..C6``, a domain ``-5..5``.
    scale : str, optional
        Name of a tuning.

    Raises
    ------
    ListenError
        If a range or a domain is not one.
    """
    found: dict[str, dict[str, Any]] = {}
    for option, texts in options.items():
        for text in texts:
            column, equals, value = text.rpartition("=")
            found.setdefault(option, {})[column if equals else "*"] = _parsed(option, value)
    return Voicing(**found, scale=scale)


def _parsed(option: str, text: str) -> Any:
    low, dots, high = text.partition("..")
    if option == "range":
        if not (dots and low and high):
            raise ListenError(f"--range {text}: write it as C3..C6 or 200hz..1600hz")
        return low, high
    if option == "domain" and dots:
        try:
            return float(low), float(high)
        except ValueError:
            raise ListenError(f"--domain {text}: write it as 0..100, or data, or p1-p99") from None
    return text


def check(table: Table, voicing: Voicing, duration: float) -> tuple[str, ...]:
    """See that a table can be heard as wished, and say what of it is heard otherwise, a line each."""
    from pieces.source import nearest
    from sonify.instruments import INSTRUMENTS

    if not SHORTEST <= duration <= LONGEST:
        raise ListenError(f"duration = {duration:g}: allowed are {SHORTEST:g} to {LONGEST:g} s")
    pitched = [
        name for name, i in INSTRUMENTS.items() if "pitch" in i.parameters and not (i.on_events or i.needs_sample)
    ]
    for options in voicing.by_column(table).values():
        if options["instrument"] not in pitched:
            raise ListenError(f"instrument = {options['instrument']!r}{nearest(options['instrument'], pitched)}")
    played = ticks(table.rows, duration)
    if played == table.rows:
        return table.notices
    stretch = 2 * table.rows / played
    reduced = f"{table.rows} rows in {duration:g} s: of every {stretch:.0f} the smallest and the largest are heard"
    return (*table.notices, reduced)


def perform(table: Table, voicing: Voicing, duration: float) -> Heard:
    """A table in the time of its sound."""
    from pieces.arrange import Arrangement
    from sonify.resolve import resolve, take_stats
    from sonify.score import parse_score
    from studio.performance import Finite

    declared = table_channels(table)
    count = ticks(table.rows, duration)
    frames = gather([Finite(declared)(FrameBlock(0, table_columns(table, count)))], count / duration)
    score = parse_score(table_score(table, voicing, duration), table.name)
    channels = {_PART: {channel.name: channel for channel in declared}}
    resolved = resolve(score, take_stats(score, channels, {_PART: frames}), [_PART])
    return Heard(resolved, Arrangement.of(frames, _PART), channels, Master(tail=TAIL))


def grown(path: Path, rest: float = 0.5) -> Iterator[None]:
    """Once at first, and again whenever a file has changed and then rested for `rest` seconds."""
    before = None
    while True:
        now = path.stat().st_mtime_ns, path.stat().st_size
        time.sleep(rest if before is not None else 0.0)
        if now != before and now == (path.stat().st_mtime_ns, path.stat().st_size):
            before = now
            yield


def guides(
    heard: Heard, mix: Path, loudness: float, folder: Path, stem: str, *, legend: bool, marks: float | None
) -> list[Path]:
    """Write what helps people to hear: none of it belongs to an artefact.

    With `legend`: ``<stem>-legend.wav``, ``-caption.txt`` and ``-timing.csv``; with `marks`: ``<stem>-axis.wav``.

    Parameters
    ----------
    heard : Heard
    mix : Path
        The rendering, and its `loudness` in LUFS.
    folder, stem
        Where to write.
    """
    import soundfile

    from sonify.legend import axis
    from sonify.legend import legend as sounded

    written = []
    if marks is not None:
        written.append(axis(mix, marks, folder / f"{stem}-axis.wav", heard.master.ceiling))
    if legend:
        made = sounded(heard.resolved)
        with tempfile.TemporaryDirectory(prefix="descant-") as temporary:
            shown = replace(heard, resolved=made.resolved, played=made.played)
            labels = [(s.start, f"{s.voice} {s.lane} {s.what}: {s.value:.6g}") for s in made.samples]
            rendering = _render(shown, Path(temporary), False, labels)
            written.append(folder / f"{stem}-legend.wav")
            shutil.move(rendering.mix, written[-1])
        said, rows = described(heard, soundfile.info(mix).duration, loudness)
        for name, text in (("caption.txt", said), ("timing.csv", timing_csv(rows))):
            written.append(folder / f"{stem}-{name}")
            written[-1].write_text(text, encoding="utf-8", newline="")
    return written


def take_guides(archive: Archive, take_id: str, folder: Path, *, legend: bool, marks: float | None) -> list[Path]:
    """`guides` of a recorded take, named as `studio.files.export` names its files."""
    from pieces.piece import parse_piece
    from studio.rendering import heard as mix_of
    from studio.rendering import heard_channels, recorded, samples, scored

    take = archive.take(take_id)
    _, played, resolved = scored(archive, take, recorded(archive, take, heard_channels(archive, take)))
    channels = {part: {c.name: c for c in record.channels} for part, record in take.parts.items()}
    master = parse_piece(take.piece, f"take {take.id}").master
    heard = Heard(resolved, played, channels, master, samples(archive, take, resolved.score))
    mix = mix_of(archive, take)
    assert take.render is not None
    stem = f"{Path(take.piece_name).stem}-{take.id}"
    return guides(heard, mix, take.render["loudness"], folder, stem, legend=legend, marks=marks)


def described(heard: Heard, duration: float, loudness: float) -> tuple[str, tuple[Row, ...]]:
    """Caption and timing table."""
    from sonify.caption import caption
    from sonify.legend import timing

    said = caption(heard.resolved, heard.played, heard.channels, duration, loudness)
    return said, tuple(timing(heard.resolved, heard.played))


def timing_csv(rows: Iterable[Row]) -> str:
    """A timing table as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["seconds", "what", "channel", "value"])
    writer.writerows((f"{r.seconds:.6g}", r.what, r.channel, "" if r.value is None else repr(r.value)) for r in rows)
    return text.getvalue()


def _render(heard: Heard, folder: Path, stems: bool, markers: Sequence[tuple[float, str]]) -> Rendering:
    from sonify.lanes import lanes
    from sonify.render import render

    desk = lanes(heard.resolved, heard.played, heard.master.tail, heard.samples)
    duration = heard.played.duration + heard.master.tail
    return render(desk, duration, heard.master, folder, stems, markers=markers)


def _samples(path: Path) -> tuple[NDArray[np.float32], int]:
    import soundfile

    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return samples, rate
