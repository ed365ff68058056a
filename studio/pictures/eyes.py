"""What is measured on pictures, as an audience sees them; it knows nothing of frames, views or pieces.

All descriptors work on the display values as they are (gamma-coded sRGB, 0..255, divided by 255), picture by picture.
Y is luma after ITU-R BT.709, Y = 0.2126 R + 0.7152 G + 0.0722 B, in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Luma from which a pixel counts as lit.
LIT = 0.125
#: What a pixel of the ground weighs against one that stands out as far as black and white do: a curve on a coloured
#: ground has the curve's hue, and an empty ground its own.
GROUND = 1 / 255


@dataclass(frozen=True)
class Eyes:
    """Descriptors of t pictures, float64 ``[t]`` each; every value is finite, also for black pictures.

    Attributes
    ----------
    brightness : ndarray
        Mean of Y, 0..1.
    contrast : ndarray
        RMS contrast: standard deviation of Y, 0..0.5 (E. Peli, "Contrast in complex images", JOSA A 7, 1990).
    hue : ndarray
        Degrees, 0 <= hue < 360 (0 red, 120 green, 240 blue): atan2(mean w β, mean w α) with α = R - (G + B) / 2 and
        β = √3 / 2 (G - B), which is the circular mean of the pixels' hues weighted by their chroma and by w, how far
        they stand out: their distance from the median colour, plus `GROUND`. 0 without chroma.
    saturation : ndarray
        Σ (max - min) / Σ max over all pixels, max and min of R, G, B: the mean HSV saturation weighted by value, 0..1;
        black surroundings leave it alone. 0 if all is black.
    change : ndarray
        Mean of |RGB - RGB of the previous picture|, 0..1; 0 at the first.
    entropy : ndarray
        -Σ p log2 p over the 256-bin histogram of Y, in bits, 0..8.
    detail : ndarray
        Mean of √(Yx² + Yy²) with differences between neighbouring pixels, 0..√2: how much edge there is.
    centre_x, centre_y : ndarray
        Centre of brightness Σ Y x / Σ Y, x from 0 (left) to 1 (right) and y from 0 (top) to 1 (bottom); 0.5 if black.
    coverage : ndarray
        Share of the pixels with Y >= 1/8, 0..1.
    fps : float
        Pictures a second; picture k is seen from ``k / fps`` on.
    """

    brightness: Floats
    contrast: Floats
    hue: Floats
    saturation: Floats
    change: Floats
    entropy: Floats
    detail: Floats
    centre_x: Floats
    centre_y: Floats
    coverage: Floats
    fps: float

    @property
    def times(self) -> Floats:
        """When each picture appears, in seconds, ``[t]``."""
        return np.arange(len(self.brightness)) / self.fps


#: Names of the descriptors, in the order of the columns that `see` fills.
DESCRIPTORS = tuple(f.name for f in fields(Eyes) if f.name != "fps")


def see(pictures: NDArray[np.uint8], fps: float) -> Eyes:
    """Measure pictures.

    Parameters
    ----------
    pictures : ndarray
        RGB, uint8 ``[t, h, w, 3]``, t >= 0 and h, w >= 1.
    fps : float
        Pictures a second, above 0.

    Returns
    -------
    Eyes

    Raises
    ------
    ValueError
        If the array is of another kind or shape, or `fps` is not above 0.
    """
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] != 3 or 0 in pictures.shape[1:3]:
        raise ValueError(f"pictures are {pictures.dtype} {list(pictures.shape)}; allowed is uint8 [t, h, w, 3]")
    if not fps > 0:
        raise ValueError(f"fps = {fps}: allowed are numbers above 0")
    rows = np.empty((len(pictures), len(DESCRIPTORS)))
    for k, picture in enumerate(pictures):
        rows[k] = _measure(picture, pictures[max(k - 1, 0)])
    return Eyes(**dict(zip(DESCRIPTORS, rows.T, strict=True)), fps=float(fps))


def _measure(picture: NDArray[np.uint8], before: NDArray[np.uint8]) -> tuple[float, ...]:
    """One picture's descriptors, in the order of `DESCRIPTORS`."""
    height, width = picture.shape[:2]
    red, green, blue = (picture[..., i].astype(np.float64) / 255 for i in range(3))
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    out = GROUND + np.abs(picture - np.median(picture, axis=(0, 1))).mean(axis=2) / 255
    alpha = float(np.mean(out * (red - (green + blue) / 2)))
    beta = float(np.mean(out * (green - blue))) * np.sqrt(3) / 2
    # Rounding leaves grey pictures with a chroma of about 1e-17, which has no hue.
    hue = np.degrees(np.arctan2(beta, alpha)) % 360 if np.hypot(alpha, beta) > 1e-11 else 0.0
    top, low = picture.max(axis=2), picture.min(axis=2)
    histogram = np.bincount(np.round(luma * 255).astype(np.intp).ravel(), minlength=256) / luma.size
    filled = histogram[histogram > 0]
    step_x = np.diff(luma, axis=1, append=luma[:, -1:])
    step_y = np.diff(luma, axis=0, append=luma[-1:])
    light = float(luma.sum())
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    return (
        float(luma.mean()),
        float(luma.std()),
        float(hue),
        (float(top.sum()) - float(low.sum())) / max(float(top.sum()), 1.0),
        float(np.abs(picture.astype(np.int16) - before).mean()) / 255,
        float(-np.sum(filled * np.log2(filled))) + 0.0,
        float(np.hypot(step_x, step_y).mean()),
        float(luma.sum(axis=0) @ x) / light if light else 0.5,
        float(luma.sum(axis=1) @ y) / light if light else 0.5,
        float(np.mean(luma >= LIT)),
    )
