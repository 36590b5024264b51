"""Writing a file so that it is there whole, or as it was before: whatever fails, and whenever."""

from os import PathLike
from pathlib import Path

from tinylab.errors import TinylabError


def write(path: str | PathLike, content: bytes) -> None:
    """Write a file aside, then put it in its place in one step.

    Where it is a link, the file that it points to is written, and a device or a pipe, directly.

    Raises:
        TinylabError: no space, or no permission to write there.
    """
    place = Path(path).resolve()
    aside = place.with_name(f".{place.name}.unfinished")
    try:
        if place.exists() and not place.is_file():
            place.write_bytes(content)
            return
        try:
            aside.write_bytes(content)
            aside.replace(place)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise TinylabError(f"cannot write {path}: {error.strerror or error}.") from error
