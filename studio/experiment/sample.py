"""A study whose trials are over, and samples of them: what is estimated is estimated of a sample."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from studio.experiment.crossed import Floats, StatisticsError
from studio.experiment.design import PROBES, Analysis, Design
from studio.experiment.freezing import Namesake, design_of, frozen_design, namesakes
from studio.experiment.inference import Estimate, Method, difference, mean
from studio.experiment.measures import Discrimination, abx, slope
from studio.experiment.outcomes import outcomes

if TYPE_CHECKING:
    from db.archive import Archive
    from db.audience import AnnotationRecord, DeviationRecord, ExperimentRecord

#: A trial that is over, see `studio.experiment.outcomes.outcomes`.
Row: TypeAlias = Mapping[str, Any]
Measure = TypeVar("Measure")

#: Tasks in which a visitor that measures its progress chooses by it.
CHOSEN = ("prefer", "steer")


@dataclass(frozen=True)
class Study:
    """All that is known of a study when it is over.

    Attributes
    ----------
    record : ExperimentRecord
        As it was frozen.
    design : Design
        As it holds now, with its last deviation.
    rows : tuple of mapping
        Its trials, excluded and failed ones too.
    reports : mapping of int to mapping
        By trial: what visitors reported that measure their learning progress.
    deviations, annotations : tuple
    namesakes : tuple of Namesake
        All else that was frozen under its name.
    """

    record: ExperimentRecord
    design: Design
    rows: tuple[Row, ...]
    reports: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    deviations: tuple[DeviationRecord, ...] = ()
    annotations: tuple[AnnotationRecord, ...] = ()
    namesakes: tuple[Namesake, ...] = ()

    @cached_property
    def frozen(self) -> Design:
        """The design as it was frozen, by which the study is analysed: what came after the data changes nothing."""
        return frozen_design(self.record)

    @property
    def analysis(self) -> Analysis:
        """What was to be asked of the answers when it was frozen."""
        return self.frozen.analysis

    @cached_property
    def measuring(self) -> frozenset[str]:
        """Audiences that measure their learning progress and choose by it: they say nothing of liking."""
        return listeners(self.design) | {row["audience"] for row in self.rows if row["number"] in self.reports}


def gathered(archive: Archive, experiment: str) -> Study:
    """A study from the archive, by its id or name.

    Raises
    ------
    DescantError
        If there is none.
    """
    record, design = design_of(archive, experiment)
    reports: dict[int, Mapping[str, Any]] = {}
    for row in archive.visiting.transcripts(experiment=record.id, limit=None):
        report = archive.visiting.transcript(row.id).report
        if row.trial is not None and report and report.get("progress") is not None:
            reports[row.trial] = report
    return Study(
        record,
        design,
        tuple(outcomes(archive, record.id)),
        reports,
        tuple(archive.studies.deviations(record.id)),
        tuple(archive.studies.annotations(experiment=record.id)),
        namesakes(archive, record),
    )


@dataclass(frozen=True)
class Sample:
    """Some trials of a study.

    Models, works (of steering: runs) and wordings are what is generalised over; audiences that are the same model,
    under other names or with other seeds, are one level. All else, registers, arms, repeats and the other work of a
    pair, is averaged within them.
    """

    rows: tuple[Row, ...]
    design: Design
    method: Method

    def where(self, test: Callable[[Row], bool]) -> Sample:
        """Those of which `test` is true."""
        return replace(self, rows=tuple(row for row in self.rows if test(row)))

    def split(self, *names: str) -> dict[tuple[Any, ...], Sample]:
        """By the values of some fields, audiences in the order of the design."""
        order = {audience.name: number for number, audience in enumerate(self.design.audiences)}
        parts: dict[tuple[Any, ...], list[Row]] = {}
        for row in self.rows:
            parts.setdefault(tuple(row[name] for name in names), []).append(row)
        ordered = sorted(parts, key=lambda key: [(order.get(value, -1), str(value)) for value in key])
        return {key: replace(self, rows=tuple(parts[key])) for key in ordered}

    def column(self, name: str) -> Floats:
        """A field as numbers; NaN where there is none."""
        return np.array([np.nan if row.get(name) is None else float(row[name]) for row in self.rows])

    @property
    def factors(self) -> dict[str, NDArray[np.str_]]:
        """Levels, [trials], of what is generalised over."""
        models = {a.name: model_of(a.visitor) for a in self.design.audiences}
        found: dict[str, list[str]] = {
            "model": [str(models.get(row["audience"], row["audience"])) for row in self.rows],
            "work": [row["work"] for row in self.rows],
            "wording": [row["wording"] for row in self.rows],
        }
        return {name: np.array(levels) for name, levels in found.items() if name != "work" or set(levels) != {""}}

    def rng(self, label: str) -> np.random.Generator:
        """A generator for one estimate, whatever else is estimated."""
        return np.random.default_rng([self.design.seed, zlib.crc32(label.encode())])

    def mean(self, name: str, chance: float | None = None, within: tuple[float, float] = (0.0, 1.0)) -> Estimate:
        """The mean of a field, see `studio.experiment.inference.mean`."""
        return mean(self.column(name), self.factors, self.rng(name), self.method, chance=chance, within=within)

    def discrimination(self) -> Discrimination:
        """d' of its trials, all of ``"same"``: A is the work that was told first."""
        return abx(self.column("target"), self._first, self.factors, self.rng("same"), self.method)

    def contrast(self, arm: str) -> Estimate:
        """By how much more often the target is chosen under one instruction than under another, cell by cell."""
        treated = np.array([row["arm"] == arm for row in self.rows], dtype=bool)
        return difference(self.column("target"), treated, self.factors, self.rng(f"arm/{arm}"), self.method)

    def slope(self) -> Estimate:
        """By how much d' rises with the share that is distorted; its trials are all of ``"same"``."""
        told = (self.column("target"), self._first, self.column("level"))
        return slope(*told, self.factors, self.rng("slope"), self.method)

    @property
    def _first(self) -> NDArray[np.bool_]:
        """Whether the third work is the one that was told first."""
        return np.array([not row["order"] ^ row["third"] for row in self.rows], dtype=bool)


def model_of(visitor: str) -> str:
    """What is the same in all visitors of one model: as it is invited, but for the server that it is on."""
    kind, _, argument = visitor.partition(":")
    return f"{kind}:{argument.partition('@')[0]}" if kind == "openai" else visitor


def listeners(design: Design) -> frozenset[str]:
    """Audiences that are known beforehand to choose by their learning progress."""
    return frozenset(a.name for a in design.audiences if a.visitor.partition(":")[0] == "listener")


def answering(sample: Sample, measuring: Collection[str]) -> tuple[Sample, bool]:
    """The trials in which visitors answered; where all choose by their progress (`measuring`), these, and True."""
    asked = sample.where(lambda row: row["audience"] not in measuring)
    return (asked, False) if asked.rows or not sample.rows else (sample, True)


def is_control(outcome: str) -> bool:
    """Whether an outcome must be chance, where nothing is leaked."""
    task, _, what = outcome.partition("/")
    return task in ("prefer", "same") and (what in PROBES or what == "0")


def is_probe(row: Row) -> bool:
    """Whether both works were told alike, so that nobody can know which is which."""
    return row["condition"] in PROBES or row["level"] == 0


def tried(measure: Callable[[], Measure]) -> tuple[Measure | None, str]:
    """What was measured, or None and why it could not be."""
    try:
        return measure(), ""
    except StatisticsError as error:
        return None, str(error)
