"""API keys: where they are looked up, whom they are for, and how they are taken out of what comes back."""

from __future__ import annotations

import os
import re
import string

from pydantic import SecretStr

from studio.audience.visitor import AudienceError

#: Under this name a keyring has keys, one for each host: ``keyring set descant HOST``.
SERVICE = "descant"
OPENAI = "api.openai.com"
#: What stands where a key, or a part of one that is as long, was taken out.
HIDDEN, PART = "[key]", 8
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_LABEL = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


def variable(host: str) -> str:
    """The environment variable with the key for a host; no two hosts have the same.

    Raises
    ------
    AudienceError
        If the host has none, since its name is of more than letters a-z, digits, dots and inner dashes.

    Examples
    --------
    >>> variable("my-models.example.org")
    'DESCANT_API_KEY_MY__MODELS_EXAMPLE_ORG'
    """
    if not _HOST.fullmatch(host):
        raise AudienceError(f"host {host!r}: no environment variable is of its name; keep its key in a keyring")
    return "DESCANT_API_KEY_" + host.replace("-", "__").replace(".", "_").upper()


def key_for(host: str) -> SecretStr | None:
    """The key that is kept for a host: in its environment variable, else in the keyring; None: there is none.

    ``OPENAI_API_KEY`` is for `OPENAI` alone, whatever else a server calls itself.

    Raises
    ------
    AudienceError
        If the key cannot be sent; it is not shown.
    """
    names = [variable(host)] if _HOST.fullmatch(host) else []
    names += ["OPENAI_API_KEY"] if host == OPENAI else []
    found = next((os.environ[name] for name in names if os.environ.get(name, "").strip()), None) or _in_keyring(host)
    if not found:
        return None
    key = found.strip()
    if not re.fullmatch(r"[!-~]+", key):
        raise AudienceError(f"the key for {host} holds white space or other than ASCII: copy it again")
    return SecretStr(key)


def _in_keyring(host: str) -> str | None:
    import keyring
    from keyring.errors import KeyringError

    try:
        return keyring.get_password(SERVICE, host)
    except KeyringError:  # a machine without one
        return None


def hidden(text: str, key: SecretStr | None) -> str:
    """A text without the key, and without any stretch of it that is long enough to help; in upper and lower case.

    Examples
    --------
    >>> hidden("no such key: SK-0123456789, sk-012...", SecretStr("sk-0123456789"))
    'no such key: [key], sk-012...'
    """
    secret = key.get_secret_value().lower() if key else ""
    size = min(PART, len(secret))
    parts = {secret[i : i + size] for i in range(len(secret) - size + 1)} if secret else set()
    low = text.translate(_LOWER)
    kept: list[str] = []
    at = 0
    for start in range(len(low) - size + 1 if parts else 0):
        if low[start : start + size] not in parts:
            continue
        if start > at or not kept:
            kept += [text[at:start], HIDDEN]
        at = start + size
    return "".join([*kept, text[at:]])
