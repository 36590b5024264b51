"""A TFDS builder whose prepared files can be trusted.

TFDS writes a data set into a temporary folder and renames it, which survives most accidents. This
adds what a classroom meets: two kernels that prepare at once, files cut short or corrupted after
they were written, homes that cannot be written to.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
from pathlib import Path

import filelock
import platformdirs

from tinylab._tensorflow import tf as _tf  # noqa: F401  (first, so that TFDS finds it imported quietly)
from tinylab.errors import DataError, TinylabError
from tinylab.quiet import quiet

with quiet():
    import tensorflow_datasets as tfds

CHECKSUMS = "checksums.json"
LOCK_SECONDS = 120


def cache_roots() -> list[Path]:
    """Folders to keep prepared data sets in, best first."""
    named = [Path(os.environ["TFDS_DATA_DIR"])] if os.environ.get("TFDS_DATA_DIR") else []
    user = os.getuid() if hasattr(os, "getuid") else "user"
    temporary = Path(tempfile.gettempdir()) / f"tinylab-{user}"
    return [*named, Path(platformdirs.user_cache_dir("tinylab")), temporary]


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a prepared data set, by file name."""
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.iterdir())
        if file.is_file() and file.name != CHECKSUMS
    }


def is_intact(folder: Path) -> bool:
    """Whether a folder holds a prepared data set, every file as it was written."""
    try:
        return json.loads((folder / CHECKSUMS).read_text()) == checksums(folder)
    except (OSError, ValueError):
        return False


def is_writable(root: Path) -> bool:
    """Whether files can be created in a folder, made first if need be."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            return True
    except OSError:
        return False


class EmbeddedBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A data set made from a file of the package; subclasses give `_info` and the splits."""

    def __init__(self, *, data_dir=None, **kwargs):
        """Choose the cache, and clear what is damaged in it."""
        roots = [Path(data_dir)] if data_dir else cache_roots()
        root = next((r for r in roots if is_intact(self._folder(r)) or is_writable(r)), None)
        if root is None:
            raise DataError(
                f"no folder to prepare {self.name} in: tried {', '.join(map(str, roots))}; "
                "set TFDS_DATA_DIR to one that can be written to."
            )
        if not is_intact(self._folder(root)):
            try:
                with self._locked(root):
                    self._clear_damaged(root)
            except OSError as error:
                raise DataError(
                    f"{self.name} in {root} is damaged or somebody else's, and cannot be replaced ({error}): "
                    "set TFDS_DATA_DIR to another folder."
                ) from error
        with quiet():  # TFDS warns of the folder that it is about to make
            super().__init__(data_dir=root, **kwargs)

    def is_prepared(self) -> bool:
        """Whether the cache holds the data set intact, and this builder has read its description."""
        return bool(self.info.splits) and is_intact(Path(self._data_dir))

    def download_and_prepare(self, **kwargs) -> None:
        """Prepare the data set unless the cache holds it intact; one process at a time."""
        root, folder = Path(self._data_dir_root), Path(self._data_dir)
        if not is_intact(folder):
            with self._locked(root):
                self._prepare(root, folder, kwargs)
        self.info.read_from_directory(folder)

    @classmethod
    def _folder(cls, root: Path) -> Path:
        return root / cls.name / str(cls.VERSION)

    @classmethod
    @contextlib.contextmanager
    def _locked(cls, root: Path):
        try:
            with filelock.FileLock(root / f"{cls.name}.lock", timeout=LOCK_SECONDS):
                yield
        except filelock.Timeout:
            raise DataError(
                f"another process has been preparing {cls.name} in {root} for {LOCK_SECONDS} s; "
                "wait for it, or restart its kernel, and run this again."
            ) from None

    @classmethod
    def _clear_damaged(cls, root: Path) -> None:
        """Remove what a killed process or a full disk left behind. The caller holds the lock."""
        if is_intact(cls._folder(root)):
            return  # another process has just prepared it
        for leftover in (root / cls.name).glob(f"*{cls.VERSION}*"):  # TFDS: incomplete.XXXXXX_1.0.0
            shutil.rmtree(leftover)

    def _prepare(self, root: Path, folder: Path, kwargs: dict) -> None:
        tfds.display_progress_bar(enable=False)  # it takes two seconds
        try:
            self._clear_damaged(root)
            if folder.exists():
                return
            with quiet(), contextlib.redirect_stdout(io.StringIO()):
                super().download_and_prepare(**kwargs)
            (folder / CHECKSUMS).write_text(json.dumps(checksums(folder), indent=1))
        except TinylabError:
            raise
        except Exception as error:  # of the system, TFDS or TensorFlow, whoever meets the full disk first
            shutil.rmtree(folder, ignore_errors=True)
            raise DataError(
                f"could not prepare {self.name} in {root} ({error}): make room there, "
                "or set TFDS_DATA_DIR to another folder."
            ) from error
        finally:
            tfds.display_progress_bar(enable=True)
