"""Krippendorff's alpha of what a study has several opinions on: choices and ratings of models, tags of coders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from studio.experiment.crossed import StatisticsError
from studio.experiment.inference import METHOD, Estimate, Method
from studio.experiment.measures import alpha
from studio.experiment.sample import Sample

if TYPE_CHECKING:
    from db.audience import AnnotationRecord

#: Tags of which agreement is told.
MOST_TAGS = 20


def of_models(sample: Sample, what: Literal["prefer", "ratings"]) -> Estimate:
    """Agreement among models, on intervals.

    What is rated is a comparison, by how often the work as it is was chosen over both orders and sides (so that the
    same side bias in all is no agreement), or a take, by the mean rating.

    Raises
    ------
    StatisticsError
        If there is one model, or the ratings do not determine it, see `studio.experiment.measures.alpha`.
    """
    given: dict[tuple[str, str], list[float]] = {}
    for row, model in zip(sample.rows, sample.factors["model"].tolist(), strict=True):
        if what == "ratings":
            rated = {str(take): float(rating) for take, rating in row["ratings"].items()}
        else:
            names = ("outcome", "work", "other", "wording", "arm", "repeat")
            rated = {"/".join(str(row[name]) for name in names): float(row["target"])}
        for unit, value in rated.items():
            given.setdefault((model, unit), []).append(value)
    # Equal means are one value, whatever the rounding.
    table = _table({key: round(float(np.mean(values)), 2) for key, values in given.items()}, "models")
    return alpha(table, "interval", sample.rng(what), sample.method)


def blind(annotations: Iterable[AnnotationRecord], kind: str) -> list[AnnotationRecord]:
    """The annotations of a kind, ``"fact"`` or ``"interpretation"``, whose coders were blind when they wrote."""
    return [one for one in annotations if one.kind == kind and one.blind and one.withdrawn is None]


def tags(annotations: Sequence[AnnotationRecord]) -> list[str]:
    """The tags that several coders might agree on, the most given ones, and no more than `MOST_TAGS`; sorted."""
    if len({one.author for one in annotations}) < 2:
        return []
    return sorted(tag for tag, _ in Counter(one.tag for one in annotations).most_common(MOST_TAGS))


def of_coders(
    annotations: Iterable[AnnotationRecord], tag: str, rng: np.random.Generator, method: Method = METHOD
) -> Estimate:
    """Agreement among coders on one tag, nominal.

    A transcript is a unit for whoever wrote anything on it, and its value is whether the tag was given, on whichever
    turn. So it counts as disagreement where only one found the tag worth giving.

    Parameters
    ----------
    annotations : iterable of AnnotationRecord
        Of one kind, by two authors or more; see `blind`.

    Raises
    ------
    StatisticsError
        If there is one coder, or fewer than two transcripts were coded by two of them, or all or none have the tag.
    """
    given: dict[tuple[str, str], bool] = {}
    for one in annotations:
        key = (one.author, one.transcript_id)
        given[key] = given.get(key, False) or one.tag == tag
    return alpha(_table({key: str(value) for key, value in given.items()}, "coders"), "nominal", rng, method)


def _table(given: Mapping[tuple[str, str], Any], who: str) -> np.ndarray[tuple[int, int], np.dtype[np.object_]]:
    """Opinions by observer and unit as `alpha` takes them; None where there is none."""
    observers, units = (sorted({key[i] for key in given}) for i in (0, 1))
    if len(observers) < 2:
        raise StatisticsError(f"{len(observers)} {who}: agreement is between two or more")
    table = np.full((len(observers), len(units)), None, dtype=object)
    for (observer, unit), value in given.items():
        table[observers.index(observer), units.index(unit)] = value
    return table
