"""A server with a model: its address, what leaves for it, and how much is read of what comes back."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from studio.audience.keys import OPENAI, hidden, key_for
from studio.audience.text import plain
from studio.audience.visitor import AudienceError

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

#: The most bytes that are read of an answer, and the most characters that are told of what a server says.
MOST, TOLD = 1_000_000, 160
#: Seconds in which a connection must stand.
CONNECT_S = 10.0
#: All that is said of us, but for the key; what else a client would add stays here: ids of organisations, headers from
#: the environment. (By the last one the client itself knows that an answer is wanted as it came.)
_SENT = frozenset(
    {"accept", "connection", "content-length", "content-type", "host", "user-agent", "x-stainless-raw-response"}
)
_ARGUMENT = re.compile(r"(?P<model>.*?)(?:@(?P<url>https?://.*))?", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Server:
    """Where a model is served.

    Attributes
    ----------
    model : str
        As the server calls it.
    url : str
        ``http://127.0.0.1:8000/v1``: without name, password, query and fragment.
    host : str
        Name or number, without a port.
    key : SecretStr or None
        The one that is kept for this host.
    """

    model: str
    url: str
    host: str
    key: SecretStr | None = field(default=None, repr=False)

    @property
    def near(self) -> bool:
        """Whether it is this machine."""
        return _near(self.host)

    def said(self, text: str, most: int = TOLD) -> str:
        """What it said, as it may be shown and kept: without the key, in one line that can do nothing but be read."""
        return plain(hidden(plain(hidden(text[: 16 * most], self.key), 16 * most), self.key), most)


def server(argument: str, insecure: bool = False) -> Server:
    """The server that stands behind ``openai:``, as ``MODEL@URL``, or ``MODEL`` for OpenAI's.

    Raises
    ------
    AudienceError
        If there is no model or no URL in it, a secret is part of the URL, or others could listen on the way: ``http:``
        to another machine, unless `insecure`.
    """
    model, given = split(argument)
    url = given or f"https://{OPENAI}/v1"
    if not model or plain(model) != model or "://" in model or ("@" in model and not given):
        shown = plain(argument.rpartition("@")[2] if "://" in argument else argument, 80)
        raise AudienceError(f"openai:{shown}: give MODEL or MODEL@URL, the URL with http:// or https://")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        raise AudienceError(f"openai:{plain(model, 80)}: no such address: {plain(str(error), 80)}") from None
    who = f"openai:{plain(model, 80)} at {plain(host, 80)!r}"
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise AudienceError(
            f"{who}: a URL has no name, password, query or fragment here; keep the key in the environment or a keyring"
        )
    if not re.fullmatch(r"[a-z0-9.:_-]+", host) or re.search(r"[^!-~]", url):
        raise AudienceError(f"{who}: no such address; write it in ASCII: http://HOST:PORT/v1")
    if parts.scheme.lower() == "http" and not _near(host) and not insecure:
        raise AudienceError(f"{who}: http:// can be read on its way; use https://, or allow it with insecure=true")
    key = key_for(host) if parts.scheme.lower() == "https" or host != OPENAI else None
    if hidden(argument, key) != argument:
        raise AudienceError(f"openai: the key for {host} stands in the address: take it out")
    place = f"[{host}]" if ":" in host else host
    return Server(
        model, f"{parts.scheme.lower()}://{place}{f':{port}' if port else ''}{parts.path.rstrip('/')}", host, key
    )


def split(argument: str) -> tuple[str, str]:
    """Model and URL of ``MODEL@URL``; the URL is empty where there is none."""
    parts = _ARGUMENT.fullmatch(argument)
    assert parts
    return parts["model"].strip(), (parts["url"] or "").strip()


def _near(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass
class Line:
    """A connection for one decision.

    Attributes
    ----------
    client : AsyncOpenAI
    sent : int
        Requests so far, with those that the client repeated of itself.
    heard : str
        What the last of them was answered with: ``429 Too Many Requests``; empty: nothing.
    """

    client: AsyncOpenAI
    sent: int = 0
    heard: str = ""


@asynccontextmanager
async def line(to: Server, retries: int) -> AsyncIterator[Line]:
    """A connection that sends the key to its host alone, follows no redirection and reads so much and no more.

    The client repeats what a server does not take now (408, 409, 429, 5xx, no connection), later each time.
    """
    import httpx2
    from openai import AsyncOpenAI

    _quiet()

    async def leaves(request: httpx2.Request) -> None:
        found.sent, found.heard = found.sent + 1, ""
        for name in set(request.headers) - _SENT:
            del request.headers[name]
        request.headers["accept-encoding"] = "identity"  # what is packed could become any length
        if to.key and request.url.host == to.host:
            request.headers["authorization"] = f"Bearer {to.key.get_secret_value()}"

    async def comes(response: httpx2.Response) -> None:
        found.heard = to.said(f"{response.status_code} {response.reason_phrase}")
        response.stream = _capped(response.stream)
        response.headers.pop("content-encoding", None)

    web = httpx2.AsyncClient(
        event_hooks={"request": [leaves], "response": [comes]},
        follow_redirects=False,
        timeout=httpx2.Timeout(None, connect=CONNECT_S),
        trust_env=not to.near,  # a proxy has no business between us and this machine
        verify=_certificates(),
    )
    async with web:
        found = Line(
            AsyncOpenAI(
                api_key="none",  # the client knows no key, so it cannot tell it
                base_url=to.url,
                max_retries=retries,
                http_client=web,
                timeout=web.timeout,
            )
        )
        yield found


@cache
def _certificates() -> Any:
    import httpx2

    return httpx2.create_ssl_context()


def _quiet() -> None:
    """Whatever is logged: headers and status lines come from the server, which may send the key back in them."""
    import logging

    for name in ("httpcore2", "httpx2", "openai", *logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("httpcore2", "httpx2", "openai"):
            logging.getLogger(name).setLevel(logging.WARNING)


def _capped(stream: Any) -> Any:
    """A stream of bytes that ends after `MOST`, whatever else would come."""
    import httpx2

    class Capped(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            read = 0
            async for chunk in stream:
                yield chunk[: MOST - read]
                read += len(chunk)
                if read >= MOST:
                    return

        async def aclose(self) -> None:
            await stream.aclose()

    return Capped()
