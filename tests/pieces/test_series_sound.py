"""A table heard: what is missing in it is a gap in the sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sonify.ears import hear
from studio.listen import listen


@pytest.mark.parametrize("gap", [True, False])
def test_a_gap_in_a_table_is_a_tap_and_a_gap_in_the_sound(tmp_path: Path, gap: bool) -> None:
    """Forty points in four seconds, ten of them missing from 2 s on."""
    rows = ["" if gap and 20 <= i < 30 else str(i % 7) for i in range(40)]
    (tmp_path / "table.csv").write_text("row,height\n" + "".join(f"{i},{r}\n" for i, r in enumerate(rows)))
    heard = listen(tmp_path / "table.csv", columns=["height"], duration=4.0)
    sound, rate = heard.samples, heard.rate

    def level(start: float, end: float) -> float:
        return float(20 * np.log10(sound[int(start * rate) : int(end * rate)].std() + 1e-12))

    assert (level(2.4, 2.95) < level(1.0, 1.9) - 40) == gap
    assert level(3.2, 3.9) == pytest.approx(level(1.0, 1.9), abs=3)
    if gap:
        assert level(2.03, 2.1) > level(1.0, 1.9) - 40, "a tap says that it is no ending"
        ears = hear(sound, rate)
        assert np.isnan(ears.f0[48:59]).all(), "no pitch that could be read as a value"
