"""Atomic writes of files and folders, reads that cannot wait for ever, and digests.

A file or folder gets its name only once its bytes are on the disk, so that a kill or a full disk
leaves the previous version intact.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from medray.errors import DataError, DiskFault

MAX_TEXT = 512 * 2**20  # bytes of a text that is read at once


class NotAFileError(OSError):
    """What is to be read is a pipe, a device, a socket or a folder."""


def open_file(path: str | os.PathLike[str]) -> BufferedReader:
    """Open an ordinary file for reading its bytes. Anything else is refused before it is opened:
    opening a pipe waits for somebody to write, and a device may never end.

    Raises OSError, or ValueError for a name that no file can have.
    """
    require_file(os.stat(path))
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        require_file(os.fstat(handle))  # it may have been replaced since
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_file(path: str | os.PathLike[str]) -> str:
    """The UTF-8 text of an ordinary file that is no larger than any that is read at once.

    Raises OSError, or ValueError (UnicodeDecodeError).
    """
    with open_file(path) as file:
        content = file.read(MAX_TEXT + 1)
    if len(content) > MAX_TEXT:
        raise OSError(errno.EFBIG, f"has more than {MAX_TEXT >> 20} MiB", os.fspath(path))
    return content.decode("utf-8")


def require_file(status: os.stat_result) -> None:
    """Raise NotAFileError unless it is the status of an ordinary file."""
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(status.st_mode), "a device")
        raise NotAFileError(errno.EINVAL, f"is {kind}, not a file")


@contextmanager
def replacing(path: Path, *, several_writers: bool = False) -> Iterator[Path]:
    """Yield a temporary path that is renamed to `path` when the block ends without an error.

    `several_writers`: processes may write `path` at the same time, and the last one wins; otherwise
    the next writer overwrites the temporary file of a killed one. Raises OSError.
    """
    suffix = f".{secrets.token_hex(4)}" if several_writers else ""
    temporary = path.with_name(f".{path.name}{suffix}.tmp")
    temporary.unlink(missing_ok=True)  # never write through a link that was left there
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)  # the new name must reach the disk as well


@contextmanager
def output_file(path: Path) -> Iterator[Path]:
    """`replacing` for a file that the user named. Raises DataError if it cannot be written."""
    if path.is_dir():
        raise DataError(str(path), "is a folder", "give the path of a file")
    try:
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        why = f"cannot be written ({error.strerror or error})"
        raise DataError(str(path), why, "choose another path") from None


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a draft folder that is renamed to `out` at the end; an error leaves nothing behind.

    Raises OSError if it cannot be written.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        draft.chmod(0o755)
        yield draft
        os.replace(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def is_taken(out: Path) -> bool:
    """Whether `out` exists and is not an empty folder, so that it must not be overwritten."""
    return out.exists() and (not out.is_dir() or any(out.iterdir()))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 atomically; what UTF-8 cannot encode (lone surrogates) becomes '?'."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "replace"))


def sync(path: Path) -> None:
    """Return once the file's bytes, or the folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Hexadecimal digest of a file's bytes. Raises OSError."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_identity(path: str | os.PathLike[str]) -> tuple[int, int, int, int]:
    """Inode, size and times: one of them changes if a file is replaced or written to, whatever its
    times are set to. Raises OSError, or ValueError for a name that no file can have."""
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


_SAMPLE = 2**20  # bytes


def folder_digest(folder: Path) -> str:
    """sha256 over a folder's files: names, sizes, and the first and last mebibyte of each.

    Weights that were trained further keep names and sizes, but not their last values. Reading all
    of 15 GB would take a minute.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE))
            file.seek(max(_SAMPLE, size - _SAMPLE))
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


_DISK_FAULTS = {
    errno.ENOSPC: ("the disk is full", "free some space, then go on with --resume"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, then go on with --resume"),
    errno.EROFS: ("the file system is read-only", "have it mounted for writing, then --resume"),
    errno.EIO: ("the disk failed (input/output error)", "check the disk, then --resume"),
    errno.ESTALE: ("the network mount is gone", "mount it again, then --resume"),
}


def disk_fault(error: BaseException) -> DiskFault | None:
    """The cause, if an exception, or the one it was raised from, tells of a disk; else None.

    Libraries in Rust and C++ keep the number of the error in their message only.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, DiskFault):
            return seen
        number = getattr(seen, "errno", None) or _number_in(str(seen))
        if number in _DISK_FAULTS:
            path = getattr(seen, "filename", None)
            return DiskFault(str(path or "writing"), *_DISK_FAULTS[number])
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return None


def _number_in(message: str) -> int | None:
    """The number of a disk fault that a message quotes, as the system words it."""
    return next((n for n in _DISK_FAULTS if os.strerror(n) in message), None)
