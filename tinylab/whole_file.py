"""Writing a file so that it is there whole, or as it was before: whatever fails, and whenever."""

import os
from pathlib import Path

from tinylab.errors import TinylabError

UNFINISHED = ".unfinished"  # how the name of a file ends that is being written


def write(path: str | os.PathLike, content: bytes) -> None:
    """Write a file aside, then put it in its place in one step.

    Where it is a link, the file that it points to is written, and a device or a pipe, directly.

    Raises:
        TinylabError: no space, or no permission to write there.
    """
    try:
        replace(path, content)
    except OSError as error:
        raise TinylabError(f"cannot write {path}: {error.strerror or error}.") from error


def replace(path: str | os.PathLike, content: bytes) -> None:
    """The same, for those who say it in their own words.

    Raises:
        OSError: no space, or no permission to write there.
    """
    place = Path(path).resolve()
    if place.exists() and not place.is_file():
        place.write_bytes(content)
        return
    aside = place.with_name(f".{place.name}{UNFINISHED}")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # or the new name could stand on the disk before what it names
        os.replace(aside, place)
    finally:
        aside.unlink(missing_ok=True)
