"""What the command line does with minds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pieces.minds.house.judge import Gate
    from pieces.minds.house.training import Recipe
    from studio.console import Bar


def train_house(
    work: Path, out: Path | None, recipe: Recipe, device: str, bar: Bar, stop: Callable[[], bool]
) -> tuple[Path, Gate] | None:
    """Train a house mind in the folder `work`, or go on with it, and write it with its card to `out`, else into `work`.

    Returns
    -------
    tuple of Path and Gate, or None
        The folder of the finished mind and how its examination went; None if `stop` said so before.
    """
    import torch

    from pieces.minds.house.examine import write_card
    from pieces.minds.house.train import Training, check_place
    from pieces.minds.mind import open_mind

    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    folder = out or work / "mind"
    check_place(folder)
    training = Training(work, recipe, where, lambda stage, done, of, loss: bar(stage, done, of), stop)
    if not training.go():
        return None
    training.export(folder)
    bar("examine", 0, 0)
    return folder, write_card(folder, open_mind(str(folder.resolve()), precision="float32"), training.facts())
