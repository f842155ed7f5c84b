"""A real TensorBoard on the loopback address, for tests: its endpoints, and its end whatever happens."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Patience for machines that have much else to do; nothing waits as long where there is nothing to wait for.
START_SECONDS, ANSWER_SECONDS, PAUSE_SECONDS = 240.0, 120.0, 0.5


class Server:
    """A running TensorBoard."""

    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str, **arguments: str | int) -> Any:
        """What `data/plugin/`path answers, as JSON."""
        query = urllib.parse.urlencode(arguments)
        with urllib.request.urlopen(f"{self.address}data/plugin/{path}?{query}", timeout=ANSWER_SECONDS) as answer:  # noqa: S310
            body = answer.read()
            return json.loads(gzip.decompress(body) if answer.headers["Content-Encoding"] == "gzip" else body)

    def post(self, path: str, fields: object) -> Any:
        """What it answers to JSON sent there."""
        sent = urllib.request.Request(  # noqa: S310
            f"{self.address}data/plugin/{path}", json.dumps(fields).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(sent, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
            return json.loads(answer.read())

    def wait_for(self, path: str, done: Any, **arguments: str | int) -> Any:
        """Ask until `done` says that the answer is whole, and return it; the last answer where time runs out."""
        end = time.monotonic() + START_SECONDS
        answer = self.get(path, **arguments)
        while not done(answer) and time.monotonic() < end:
            time.sleep(PAUSE_SECONDS)
            answer = self.get(path, **arguments)
        return answer


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A TensorBoard of `folder`, on a port that it chooses itself. It is ended in any case."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--host", "127.0.0.1", "--port", "0"]
    process = subprocess.Popen(
        # Its own reader: the faster one is a second process, which would have to be ended too.
        [*command, "--load_fast", "false", "--reload_interval", "1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "no_proxy": "127.0.0.1"},
        text=True,
    )
    lines: list[str] = []
    found = threading.Event()

    def read() -> None:
        """Take down what it says until it ends, so that it never waits for a reader."""
        for line in process.stderr or ():
            lines.append(line)
            if "http://127.0.0.1:" in line:
                found.set()
        found.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        found.wait(START_SECONDS)
        address = re.search(r"http://127\.0\.0\.1:\d+/", "".join(lines))
        if address is None:
            raise RuntimeError("TensorBoard did not start:\n" + "".join(lines[-20:]))
        yield Server(address[0])
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(timeout=20)
        if process.stderr is not None:
            process.stderr.close()
