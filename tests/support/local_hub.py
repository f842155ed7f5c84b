"""A stand-in for the hub on this machine: the two questions its client asks of a data set, answered from a folder."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench.tasks.base import Source
from bench.tasks.hub import Repository


class LocalHub:
    """What is served, and what was asked: `asked` holds the path of each request. `forbid` refuses them all."""

    def __init__(self, root: Path, address: str) -> None:
        self.root = root
        self.address = address
        self.asked: list[str] = []
        self.forbid = False

    def files(self, config: str) -> list[str]:
        """Names of the files of one configuration."""
        return sorted(path.relative_to(self.root).as_posix() for path in (self.root / config).iterdir())

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer to one request."""
        path = path.partition("?")[0]
        self.asked.append(path)
        if self.forbid:
            return 403, {}, b"{}"
        if "/tree/" in path:
            files = [file for file in self.root.rglob("*") if file.is_file()]
            return (
                200,
                {"Content-Type": "application/json"},
                json.dumps([self._entry(file) for file in files]).encode(),
            )
        _, found, rest = path.partition("/resolve/")
        commit, _, name = rest.partition("/")
        if not found or not (self.root / name).is_file():
            return 404, {}, b"{}"
        content = (self.root / name).read_bytes()
        return 200, {"ETag": f'"{_blob_id(content)}"', "X-Repo-Commit": commit}, content

    def _entry(self, file: Path) -> dict[str, object]:
        content = file.read_bytes()
        name = file.relative_to(self.root).as_posix()
        return {"type": "file", "path": name, "size": len(content), "oid": _blob_id(content)}


def _blob_id(content: bytes) -> str:
    """Git's name for a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324


@contextlib.contextmanager
def serve(root: Path) -> Iterator[LocalHub]:
    """Serve the files below `root` as data sets of any name and revision."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer with a body, or for HEAD without."""
            status, headers, body = hub.answer(self.path)
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = LocalHub(root, f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def cached(repository: Repository, cache_dir: Path) -> Path:
    """Where the hub's client keeps the files of a data set below a cache folder: what lies there needs no hub."""
    identifier, revision = repository
    folder = cache_dir / "hub" / f"datasets--{identifier.replace('/', '--')}" / "snapshots" / revision
    folder.mkdir(parents=True)
    return folder


def load_elsewhere(name: str, source: Source, **environment: str) -> subprocess.CompletedProcess[str]:
    """Load a task in a fresh process, since the hub's client reads its settings once; retries wait hardly."""
    code = (
        "import sys, time, pathlib; sleep = time.sleep; time.sleep = lambda s: sleep(min(s, 0.01))\n"
        "from bench import tasks; from bench.errors import InputError; from bench.tasks.base import Source\n"
        "cache, data = (pathlib.Path(a) if a else None for a in sys.argv[2:4])\n"
        "try: print(tasks.load(sys.argv[1], Source(cache, data, sys.argv[4] == 'offline')).fingerprint)\n"
        "except InputError as error: print('refused:', error)"
    )
    words = [name, str(source.cache_dir), str(source.data_dir or ""), "offline" if source.offline else "online"]
    settings = os.environ | {"HF_HOME": str(source.cache_dir / "home"), "HF_HUB_DISABLE_XET": "1"} | environment
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, env=settings
    )
