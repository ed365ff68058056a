"""Servers on loopback for visitors that are asked over HTTP: a real one with a real model, and some that misbehave."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import keyring
import pytest
from keyring.backends import fail

from studio.audience.remote import Remote
from studio.audience.visitor import AudienceError, Question


@contextmanager
def transformers_serve(model: Path, folder: Path) -> Iterator[str]:
    """``transformers serve`` with a model of a folder; its address. `folder` is for its cache and its log."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    offline = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(folder / "hub")}
    program = [sys.executable, "-c", "from transformers.cli.transformers import main; main()"]
    words = ["serve", str(model), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--default-seed", "0"]
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen([*program, *words], stdout=log, stderr=log, env={**os.environ, **offline})
        try:
            _up(f"http://127.0.0.1:{port}/health", process, folder / "serve.log")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()
            process.wait()


def _up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        try:
            with urlopen(url, timeout=10):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"transformers serve did not come up: {log.read_text()[-2000:]}")


@dataclass(frozen=True)
class Asked:
    """A request as it came, its headers in lower case, and when (s)."""

    path: str
    headers: Mapping[str, str]
    body: Any
    at: float


Answer = Callable[[BaseHTTPRequestHandler, Asked], None]


@dataclass
class Standin:
    """A server of the standard library that answers as it is told.

    Attributes
    ----------
    asked : list of Asked
        What came, in its order.
    url : str
    """

    url: str = ""
    asked: list[Asked] = field(default_factory=list)

    def paths(self) -> list[str]:
        """Where it was asked, without ``/v1``."""
        return [one.path.removeprefix("/v1") for one in self.asked]


@contextmanager
def standin(ways: Mapping[str, Answer | list[Answer]], host: str = "127.0.0.1") -> Iterator[Standin]:
    """A server that knows some paths below ``/v1``, each with its answers, of which the last is given again and again.

    What it does not know is 404, as ``transformers serve`` says it.
    """
    found, left = Standin(), {path: list(a) if isinstance(a, list) else [a] for path, a in ways.items()}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            one = Asked(self.path, headers, json.loads(body), time.monotonic())
            found.asked.append(one)
            answers = left.get(self.path.removeprefix("/v1"), [status(404, {"detail": "Not Found"})])
            try:
                (answers.pop(0) if len(answers) > 1 else answers[0])(self, one)
            except OSError:  # whoever asked has gone
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """It is quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Whoever asked has gone."""

    web = Server((host, 0), Handler)
    found.url = f"http://{host}:{web.server_port}/v1"
    thread = threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        web.shutdown()
        web.server_close()


def status(code: int, body: Any, headers: Mapping[str, str] | None = None, reason: str | None = None) -> Answer:
    """Any status, with JSON, or with bytes as they are."""

    def answer(to: BaseHTTPRequestHandler, asked: Asked) -> None:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        to.send_response(code, reason)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            to.send_header(name, value)
        to.send_header("Content-Length", str(len(sent)))
        to.end_headers()
        to.wfile.write(sent)

    return answer


def completion(content: str | None, **message: Any) -> dict[str, Any]:
    """A chat completion with some content."""
    said = {"role": "assistant", "content": content, **message}
    return {
        "object": "chat.completion",
        "model": "served-1",
        "choices": [{"index": 0, "finish_reason": "stop", "message": said}],
        "usage": {"prompt_tokens": 50, "completion_tokens": 7, "total_tokens": 57},
    }


def says(content: str | None, **message: Any) -> Answer:
    """A chat completion with some content."""
    return status(200, completion(content, **message))


def options_of(asked: Asked) -> dict[str, str]:
    """The options of a chat prompt, by their letters, in the order in which they are shown."""
    content = asked.body["messages"][-1]["content"]
    text = content if isinstance(content, str) else content[-1]["text"]
    lines = [line.partition(". ") for line in text.splitlines()]
    return {letter: option for letter, dot, option in lines if dot and len(letter) == 1}


def chooses(pick: Callable[[Mapping[str, str]], str]) -> Answer:
    """A chat completion with the letter that `pick` makes of the options by their letters."""

    def answer(to: BaseHTTPRequestHandler, asked: Asked) -> None:
        says(json.dumps({"choice": pick(options_of(asked))}))(to, asked)

    return answer


def wants(option: str) -> Answer:
    """Always one option, wherever it stands; where it is not offered, the first."""
    return chooses(lambda options: next((letter for letter, one in options.items() if one == option), "A"))


def choices_of(asked: Asked, weights: Mapping[str, float]) -> dict[str, Any]:
    """Decisions with probabilities by option."""
    answers = []
    for question in asked.body["questions"]:
        known = {one["value"]: weights.get(one["value"], 0.5) for one in question["choices"]}
        shares = [{"value": value, "probability": known[value] / sum(known.values())} for value in known]
        best = max(known, key=lambda value: known[value])
        about = {"type": "choice", "name": question["name"], "choice": best, "confidence": 1.0}
        answers.append({**about, "probabilities": shares})
    usage: dict[str, Any] = {"input_tokens": 100, "output_tokens": 2, "total_tokens": 102}
    usage |= {"input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0}}
    usage |= {"output_tokens_details": {"reasoning_tokens": 0}}
    return {"answers": answers, "model": "luna-1", "usage": usage}


def drip(to: BaseHTTPRequestHandler, asked: Asked) -> None:
    """A byte, and a byte, and a byte, as long as somebody waits."""
    to.send_response(200)
    to.send_header("Content-Length", "100000")
    to.end_headers()
    while True:
        to.wfile.write(b" ")
        time.sleep(0.02)


def drip_headers(to: BaseHTTPRequestHandler, asked: Asked) -> None:
    """The same before there is any answer."""
    to.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        to.wfile.write(b"a")
        to.wfile.flush()
        time.sleep(0.02)


def silence(to: BaseHTTPRequestHandler, asked: Asked) -> None:
    """Nothing, as long as somebody waits."""
    to.connection.recv(1)


@dataclass
class Babble:
    """Forty megabytes of words in one answer; how much of them was taken."""

    code: int = 200
    taken: int = 0

    def __call__(self, to: BaseHTTPRequestHandler, asked: Asked) -> None:
        to.send_response(self.code)
        to.send_header("Content-Length", "40000000")
        to.end_headers()
        for _ in range(4000):
            to.wfile.write(b"la " * 3333 + b"\n")
            self.taken += 10_000


def reset(to: BaseHTTPRequestHandler, asked: Asked) -> None:
    """The connection is torn."""
    to.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    to.connection.close()
    to.close_connection = True


def echo(to: BaseHTTPRequestHandler, asked: Asked, code: int = 500) -> None:
    """What was sent as a secret comes back wherever something can come back."""
    secret = asked.headers.get("authorization", "")
    body = {"error": {"message": f"no such key: {secret}", "code": secret}}
    status(code, body, {"X-Secret": secret, "x-request-id": secret}, reason=f"No {secret}")(to, asked)


#: A key that must be seen nowhere.
PLANTED = "sk-planted-0123456789-ABCDEFGHIJKLMNOP"
ASKS = Question("", "What do you do?", ("look", "go", "leave"), 10.0, 1)
CHAT, DECISIONS, SYSTEMONE = "/chat/completions", "/decisions", "/systemone"
FINE = says('{"choice": "A"}')


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No key of this machine, and a keyring that has none."""
    before = keyring.get_keyring()
    keyring.set_keyring(fail.Keyring())
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    yield
    keyring.set_keyring(before)


def visitor(url: str, model: str = "m", **options: Any) -> Remote:
    found = Remote(f"{model}@{url}", Path("nowhere"), **{"retries": 0, **options})
    found.begin("You are in a gallery.", 1)
    found.observe("The hall. Rooms: amber, birch.")
    return found


def refused(found: Remote, question: Question = ASKS) -> str:
    """The one line of a visitor that cannot decide."""
    with pytest.raises(AudienceError) as told:
        found.decide(question)
    line = str(told.value)
    assert line.startswith(f"{found.name}: ")
    assert len(line) < 450
    assert not any(unicodedata.category(c).startswith("C") for c in line)
    return line.removeprefix(f"{found.name}: ")
