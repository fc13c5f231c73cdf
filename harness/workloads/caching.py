"""Write a cache file whole or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

from harness.errors import DataError


def write(path: Path, content: bytes) -> None:
    """Write by rename, so that workers which start together never read half a file.

    Raises: DataError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            file.write(content)
        Path(file.name).replace(path)
    except OSError as error:
        raise DataError(f"cannot write the cache {path}: {error.strerror}; choose a writable results folder") from error
