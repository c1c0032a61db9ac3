"""The data folder of a reader, for one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from readers.errors import SettingsError


@contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """Take the data folder for this process; two on one would write over each other's state. Raises SettingsError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SettingsError("data_dir", f"{folder} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise SettingsError("data_dir", f"{folder} is in use by another reader daemon") from error
    try:
        yield
    finally:
        os.close(descriptor)
