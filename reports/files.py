"""Writing a file so that a reader sees the old one or the new one, never half of it."""

import tempfile
from pathlib import Path

from bench.record import InputError


def write_atomic(path: Path, content: bytes) -> None:
    """Replace `path` by `content`. Raises InputError where the folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            try:
                file.write(content)
                file.close()
                # Temporary files are private by default; a report is for others to read.
                temporary.chmod(0o644)
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; choose a folder you may write to") from None
