"""What a power cut leaves on a disk: everything that was fsynced, and of the rest whatever chance leaves.

In the reader's process :class:`Platter` notes, at each fsync of a file, what is now safe on disk: for Python's own
files at ``os.fsync``, for SQLite's at the ``xSync`` of its VFS (https://sqlite.org/c3ref/vfs.html), which is where
SQLite asks the operating system for it. After the process was killed :func:`cut_power` puts the folder into one of the
states in which a power cut at that moment could have left it: each sector of 512 octets as it was at its last fsync or
as it was written since, each file at a length between, a name that was not made durable there or not.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

SECTOR: Final = 512
SHM: Final = "-shm"
"""SQLite's index of its log lies in memory and is made anew from the log; it is never on the disk's books."""

_METHODS: Final = 18
"""Function pointers of ``sqlite3_io_methods`` up to version 3."""
_SYNC: Final = 4
_OPENED: Final = 0x100 | 0x800 | 0x80000
"""SQLITE_OPEN_MAIN_DB, SQLITE_OPEN_MAIN_JOURNAL, SQLITE_OPEN_WAL."""


class _Methods(ctypes.Structure):
    _fields_ = (("version", ctypes.c_int), ("calls", ctypes.c_void_p * _METHODS))


class _File(ctypes.Structure):
    _fields_ = (("methods", ctypes.POINTER(_Methods)),)


class _Vfs(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("longest_path", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("open", ctypes.c_void_p),
    )


_Open = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(_File), ctypes.c_int, ctypes.c_void_p
)
_Sync = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)


class Platter:
    """Notes below ``books`` what of ``folder`` is safe on disk. :meth:`spin` once, in the process that writes."""

    def __init__(self, folder: Path, books: Path) -> None:
        self._folder = folder.resolve()
        self._books = books
        self._kept: list[Any] = []

    def spin(self) -> None:
        """Take everything that is there for safe, and watch from now on.

        Raises:
            AttributeError, OSError: this Python's SQLite cannot be watched.
        """
        shutil.rmtree(self._books, ignore_errors=True)
        for part in ("inodes", "names"):
            (self._books / part).mkdir(parents=True)
        for folder in (self._folder, *(path for path in self._folder.rglob("*") if path.is_dir())):
            for path in _files(folder):
                self.synced(path)
            self.linked(folder)
        self._watch_python()
        self._watch_sqlite()

    def synced(self, path: Path) -> None:
        """The content of a file is safe as it is now."""
        try:
            with path.open("rb") as file:
                self._write("inodes", str(os.fstat(file.fileno()).st_ino), file.read())
        except FileNotFoundError:
            return

    def linked(self, folder: Path) -> None:
        """The names in a folder are safe as they are now."""
        names = {path.name: path.stat().st_ino for path in _files(folder)}
        self._write("names", "at-" + quote(str(folder.relative_to(self._folder)), safe=""), json.dumps(names).encode())

    def _write(self, part: str, name: str, content: bytes) -> None:
        # Whole or not at all, also if this process is killed meanwhile: then the file counts as not yet synced.
        new = self._books / f"{name}.{part}.{os.urandom(4).hex()}"
        new.write_bytes(content)
        new.replace(self._books / part / name)

    def _watch_python(self) -> None:
        fsync = os.fsync

        def watched(descriptor: Any) -> None:
            fsync(descriptor)
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            path = Path(f"/proc/self/fd/{number}").readlink()
            if path.is_relative_to(self._folder):
                (self.linked if path.is_dir() else self.synced)(path)

        os.fsync = watched  # type: ignore[assignment]

    def _watch_sqlite(self) -> None:
        import _sqlite3

        # The extension, or this program where it is built in; its own SQLite is found among what it links to.
        library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
        library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        sqlite3.connect(":memory:").close()  # initialises the library
        vfs = library.sqlite3_vfs_find(None).contents
        open_file = _Open(vfs.open)
        tables: dict[int, _Methods] = {}
        paths: dict[int, Path] = {}

        # The name goes on as the address that it came as: SQLite keeps it.
        def opened(where: int, name: int | None, file: Any, flags: int, out: int) -> int:
            code = open_file(where, name, file, flags, out)
            if code == 0 and name is not None and flags & _OPENED:
                at = ctypes.addressof(file.contents)
                paths[at] = Path(os.fsdecode(ctypes.string_at(name)))
                key = ctypes.addressof(file.contents.methods.contents)
                if key not in tables:
                    tables[key] = self._table(file.contents.methods.contents, paths)
                file.contents.methods = ctypes.pointer(tables[key])
            return int(code)

        self._kept += [hook := _Open(opened), tables]
        vfs.open = ctypes.cast(hook, ctypes.c_void_p)

    def _table(self, methods: _Methods, paths: dict[int, Path]) -> _Methods:
        table = _Methods.from_buffer_copy(methods)
        sync: Callable[[int, int], int] = _Sync(methods.calls[_SYNC] or 0)

        def synced(file: int, flags: int) -> int:
            code = sync(file, flags)
            path = paths[file]
            if code == 0 and path.is_relative_to(self._folder):
                self.synced(path)
                # SQLite syncs the folder together with a file that it made (os_unix.c, unixSync).
                self.linked(path.parent)
            return code

        self._kept.append(hook := _Sync(synced))
        table.calls[_SYNC] = ctypes.cast(hook, ctypes.c_void_p).value
        return table


def cut_power(folder: Path, books: Path, chance: random.Random) -> int:
    """Leave in ``folder`` what a power cut might have. The process that wrote is gone. Tells how many files changed."""
    changed = 0
    names: dict[Path, int] = {}
    for book in (books / "names").iterdir():
        inside = folder / unquote(book.name.removeprefix("at-"))
        names |= {inside / name: inode for name, inode in json.loads(book.read_bytes()).items()}
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.name.endswith(SHM):
            path.unlink()
            continue
        written, inode = path.read_bytes(), path.stat().st_ino
        if path not in names and chance.random() < 0.5:
            path.unlink()
            changed += 1
            continue
        if names.get(path, inode) != inode and chance.random() < 0.5:
            inode = names[path]  # the rename did not reach the disk
            written = _safe(books, inode)
        left = _torn(_safe(books, inode), written, chance)
        if left != written or inode != path.stat().st_ino:
            path.write_bytes(left)
            changed += 1
    return changed


def _safe(books: Path, inode: int) -> bytes:
    path = books / "inodes" / str(inode)
    return path.read_bytes() if path.exists() else b""


def _torn(safe: bytes, written: bytes, chance: random.Random) -> bytes:
    """Sectors of what was synced and of what was written since, mixed."""
    short, long = sorted((len(safe), len(written)))
    length = chance.choice((len(safe), len(written), chance.randint(short, long)))
    share = chance.choice((0.0, 0.5, 1.0))
    made = bytearray(safe[:length].ljust(length, b"\0"))
    for start in range(0, length, SECTOR):
        end = min(start + SECTOR, length)
        if written[start:end] != made[start:end] and chance.random() < share:
            made[start:end] = written[start:end].ljust(end - start, b"\0")
    return bytes(made)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.endswith(SHM))
