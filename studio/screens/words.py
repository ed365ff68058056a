"""What the desk writes about a score: a mapping as a line for people, and as an inline table of TOML for editing."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from pieces.errors import DescantError


def told(value: Any) -> str:
    """A lane's value as people read it: ``loss 0.01..2 → D4..D6 log``, or just the number."""
    if isinstance(value, list | tuple):
        return ", ".join(told(v) for v in value)
    if not isinstance(value, Mapping):
        return _plain(value)
    if "channel" not in value:
        return ", ".join(f"{k} {told(v)}" for k, v in value.items() if v is not None)
    domain = value.get("domain", "data")
    words = [str(value["channel"])]
    words += [_span(domain)] if not isinstance(domain, str) else [] if domain == "data" else [domain]
    words += ["→", _span(value.get("range", ())) or "?"]
    words += [str(value["space"])] if value.get("space") else []
    words += [str(value["shape"])] if value.get("shape", "linear") != "linear" else []
    words += ["inverted"] if value.get("polarity") == "negative" else []
    words += [f"every {_plain(value['every'])}"] if value.get("every") else []
    tuning = value.get("tuning")
    words += [tuning if isinstance(tuning, str) else "tuned"] if tuning else []
    return " ".join(words)


def _span(given: Any) -> str:
    return "..".join(_plain(v) for v in given)


def _plain(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:.6g}"


def inline(value: Any) -> str:
    """Plain data as one line of TOML."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(str(k))} = {inline(v)}" for k, v in value.items() if v is not None)
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(inline(v) for v in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def parsed(text: str) -> Any:
    """The inverse of `inline`.

    Raises
    ------
    DescantError
        If the text is no value of TOML; the line says what one looks like.
    """
    if "\n" in text:
        raise DescantError("one line, please")
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError) as error:
        reason = re.sub(r" \(at line 1, column (\d+)\)", lambda m: f" (column {max(int(m[1]) - 8, 1)})", str(error))
        example = '{ channel = "loss", domain = [0.01, 2.0], shape = "log", range = ["A3", "A5"] }'
        raise DescantError(f"not TOML: {reason}; write a number, or {example}") from None
