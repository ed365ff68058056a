"""Pixels as terminal cells: ready strings of text, made by numpy for all cells at once.

A cell holds two pixels, one above the other: the upper half block in the colour of the upper one on the colour of the
lower one. Without colour it holds 2 x 4 braille dots. A row of 128 cells would take 3 ms of Python; the whole picture
takes less here, since the bytes of every cell lie in a table and a mask says which of them are sent.
"""

from __future__ import annotations

from functools import cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
#: How much colour a terminal shows: all, 256, 16, or none.
Depth = Literal["true", "256", "16", "none"]

RESET = "\x1b[0m"
_BLOCK = "▀"
#: Thresholds of ordered dithering (B. Bayer, 1973), in 0..1.
_BAYER = (np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) + 0.5) / 16
#: The colours of a terminal that has 16, as xterm shows them.
ANSI = np.array(
    [
        *([0, 0, 0], [205, 0, 0], [0, 205, 0], [205, 205, 0], [0, 0, 238], [205, 0, 205], [0, 205, 205]),
        *([229, 229, 229], [127, 127, 127], [255, 0, 0], [0, 255, 0], [255, 255, 0], [92, 92, 255], [255, 0, 255]),
        *([0, 255, 255], [255, 255, 255]),
    ],
    dtype=np.int64,
)
_CUBE = np.array([0, 95, 135, 175, 215, 255], dtype=np.int64)
#: Bits of a braille character's dots, by row and column.
DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint8)


def pixel_size(columns: int, rows: int, depth: Depth) -> tuple[int, int]:
    """Width and height in pixels of a picture that fills so many cells."""
    return (columns * 2, rows * 4) if depth == "none" else (columns, rows * 2)


def encode(picture: Pixels, depth: Depth) -> list[str]:
    """The rows of a picture as strings for the terminal.

    Parameters
    ----------
    picture : ndarray
        RGB, uint8 ``[height, width, 3]``, of a size that `pixel_size` gives.
    depth : str

    Returns
    -------
    list of str
        One a row of cells, each exactly as many cells wide as the picture; colours are reset at its end.
    """
    if depth == "none":
        return braille(_dithered(picture))
    upper, lower = picture[0::2], picture[1::2]
    if depth == "true":
        return _joined(_codes_true(upper, 38), _codes_true(lower, 48), _changes(upper), _changes(lower))
    find = _nearest_256 if depth == "256" else _nearest_16
    numbers = find(picture)
    above, below = numbers[0::2], numbers[1::2]
    code = _codes_256 if depth == "256" else _codes_16
    return _joined(code(above, 38), code(below, 48), _changes(above), _changes(below))


def quantised(picture: Pixels, bits: int) -> Pixels:
    """A picture with so many bits a colour: runs of equal cells, and fewer bytes for a slow terminal."""
    if bits >= 8:
        return picture
    shift = 8 - bits
    kept = (picture >> shift) << shift
    found: Pixels = (kept | (kept >> bits)).astype(np.uint8)
    return found


def reduced(picture: Pixels, depth: Depth) -> Pixels:
    """The picture in the colours that `encode` shows, for what cannot take ready strings."""
    if depth == "true":
        return picture
    if depth == "256":
        return _palette_256()[_nearest_256(picture)]
    return ANSI.astype(np.uint8)[_nearest_16(picture)]


def braille(dots: NDArray[np.bool_]) -> list[str]:
    """Dots ``[rows * 4, columns * 2]`` as rows of braille characters."""
    height, width = dots.shape[0] // 4, dots.shape[1] // 2
    grouped = dots[: height * 4, : width * 2].reshape(height, 4, width, 2).transpose(0, 2, 1, 3)
    codes = (grouped * DOTS).sum(axis=(2, 3)).astype(np.uint32) + 0x2800
    return [row.astype("<u4").tobytes().decode("utf-32-le") for row in codes]


def _dithered(picture: Pixels) -> NDArray[np.bool_]:
    """Light as dots, by ordered dithering; the dark ground of a picture stays empty."""
    light = picture @ np.array([0.2126, 0.7152, 0.0722]) / 255
    bent = np.clip((light - 0.06) * 1.5, 0, 1) ** 0.8
    height, width = bent.shape
    thresholds = np.tile(_BAYER, (height // 4 + 1, width // 4 + 1))[:height, :width]
    found: NDArray[np.bool_] = bent > thresholds
    return found


def _changes(values: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a cell's colour is another one than that of the cell before it in its row, ``[rows, columns]``."""
    differs = values[:, 1:] != values[:, :-1]
    if differs.ndim == 3:
        differs = differs.any(axis=2)
    return np.concatenate([np.ones((len(values), 1), dtype=bool), differs], axis=1)


#: Bytes of cells as words of four, which are looked up quickly, ``[rows, columns, words]``; a NUL is not sent.
_Words: TypeAlias = NDArray[np.uint32]


@cache
def _numbers(end: str) -> _Words:
    """The digits and what follows them, for each number from 0 to 255."""
    text = "".join(f"{n}".rjust(3, "\0") + end for n in range(256))
    return np.frombuffer(text.encode(), dtype=np.uint32)


@cache
def _padded(text: str) -> _Words:
    """A text in whole words."""
    data = text.encode()
    return np.frombuffer(data + bytes(-len(data) % 4), dtype=np.uint32)


def _codes(prefix: str, numbers: list[NDArray[np.uint8]]) -> _Words:
    """``ESC [ prefix N ; N ... m`` of every cell."""
    head = _padded(f"\x1b[{prefix}")
    out = np.empty((*numbers[0].shape, len(head) + len(numbers)), dtype=np.uint32)
    out[..., : len(head)] = head
    for i, number in enumerate(numbers):
        out[..., len(head) + i] = _numbers("m" if i == len(numbers) - 1 else ";")[number]
    return out


def _codes_true(colours: Pixels, layer: int) -> _Words:
    return _codes(f"{layer};2;", [colours[..., i] for i in range(3)])


def _codes_256(numbers: NDArray[np.uint8], layer: int) -> _Words:
    return _codes(f"{layer};5;", [numbers])


def _codes_16(numbers: NDArray[np.uint8], layer: int) -> _Words:
    base = np.where(numbers < 8, layer - 8, layer + 44).astype(np.uint8)  # 30.. and 90.., 40.. and 100..
    return _codes("", [base + numbers])


def _joined(above: _Words, below: _Words, new_above: NDArray[np.bool_], new_below: NDArray[np.bool_]) -> list[str]:
    """The rows in one piece each, without what says again what the cell before has said."""
    block = np.broadcast_to(_padded(_BLOCK), (*new_above.shape, 1))
    text = np.concatenate([above * new_above[..., None], below * new_below[..., None], block], axis=2)
    return [row.tobytes().translate(None, b"\0").decode() + RESET for row in text]


def _nearest_256(picture: Pixels) -> NDArray[np.uint8]:
    """The nearest of xterm's 216 colours and 24 greys."""
    given = picture.astype(np.int64)
    levels = np.searchsorted((_CUBE[1:] + _CUBE[:-1]) / 2, given)
    cube = 16 + levels @ np.array([36, 6, 1])
    grey = np.clip(np.round((given.mean(axis=2) - 8) / 10), 0, 23).astype(np.int64)
    far_cube = ((_CUBE[levels] - given) ** 2).sum(axis=2)
    far_grey = (((8 + 10 * grey)[..., None] - given) ** 2).sum(axis=2)
    found: NDArray[np.uint8] = np.where(far_grey < far_cube, 232 + grey, cube).astype(np.uint8)
    return found


@cache
def _palette_256() -> Pixels:
    cube = np.stack(np.meshgrid(_CUBE, _CUBE, _CUBE, indexing="ij"), axis=-1).reshape(-1, 3)
    greys = np.repeat(8 + 10 * np.arange(24), 3).reshape(-1, 3)
    return np.concatenate([ANSI, cube, greys]).astype(np.uint8)


@cache
def _table_16() -> NDArray[np.uint8]:
    """The nearest of the 16 colours for each colour of four bits a channel."""
    steps = np.arange(16) * 17
    colours = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)
    weights = np.array([0.30, 0.59, 0.11])
    far = (((colours[..., None, :] - ANSI) ** 2) * weights).sum(axis=-1)
    found: NDArray[np.uint8] = far.argmin(axis=-1).astype(np.uint8)
    return found


def _nearest_16(picture: Pixels) -> NDArray[np.uint8]:
    """The nearest of the 16 colours, by ordered dithering."""
    height, width = picture.shape[:2]
    noise = np.tile(_BAYER - 0.5, (height // 4 + 1, width // 4 + 1))[:height, :width, None]
    # Dithering is for what is lit: the near-black ground stays black.
    lit = np.clip(picture.max(axis=2, keepdims=True) / 48, 0, 1)
    nudged = np.clip(picture + noise * 96 * lit, 0, 255).astype(np.uint8) >> 4
    found: NDArray[np.uint8] = _table_16()[nudged[..., 0], nudged[..., 1], nudged[..., 2]]
    return found
