"""A folder of somebody's pictures: a sub-folder for each class, whatever the files in it are."""

import hashlib
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tinylab._tensorflow import tf
from tinylab.errors import DataError
from tinylab.progress import progress

SUFFIXES = (".jpg", ".jpeg", ".png")
SIDE = 512  # pixels that the longer side of a picture is brought down to
MOST_PIXELS = 80_000_000  # a picture of this size takes 0.24 GB once it is decoded
THREADS = 4


@dataclass
class Folder:
    """What was found: (file, label) by split, the classes, and what was left out, by reason."""

    classes: tuple[str, ...]
    splits: dict[str, list[tuple[Path, int]]]
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, reason: str, what: str) -> None:
        """Remember that something is not used."""
        self.left_out.setdefault(reason, []).append(what)

    def summary(self) -> str:
        """What was left out in one sentence, the first of each kind by name; empty if nothing was."""
        kinds = [f"{len(names)} {reason} ({names[0]})" for reason, names in self.left_out.items()]
        return f"Left out: {'; '.join(kinds)}." if kinds else ""


def find(root: Path, limit: int | None) -> Folder:
    """Look through a folder: its classes, and its pictures by split, every one of them tried.

    The split of a picture follows from its name and how many there are of its class: of the pictures of a
    class, ordered by a hash of their names, the last tenth is for the test, the tenth before it for
    validation. Splits are in rounds: one picture of each class, as long as there are any.

    Raises:
        DataError: no such folder, fewer than two classes, a class with too few usable pictures, or one
            picture in two classes.
    """
    names = _visible(root)
    classes = tuple(entry.name for entry in names if entry.is_dir())
    if len(classes) < 2:
        raise DataError(
            f"{root} has {len(classes)} sub-folders; expected one for each class, two classes or more, "
            "with the pictures of the class in it."
        )
    check_limit(limit, classes)
    found = Folder(classes, {"train": [], "validation": [], "test": []})
    for entry in names:
        if not entry.is_dir():
            found.leave_out("beside the class folders", entry.name)
    for label, name in enumerate(classes):
        for split, files in _split(_pictures(root / name, found)).items():
            found.splits[split] += [(place, label, file) for place, file in enumerate(files)]
    for split, entries in found.splits.items():
        found.splits[split] = [(file, label) for _, label, file in sorted(entries)[:limit]]
    _keep_usable(root, found)
    return found


def check_limit(limit: int | None, classes: tuple[str, ...]) -> None:
    """Refuse, with a DataError, a limit that leaves a class out of a split."""
    if limit is not None and limit < len(classes):
        raise DataError(
            f"limit is {limit}; expected at least one picture for each of {len(classes)} classes."
        )


def read(file: Path) -> np.ndarray:
    """A picture as uint8 (height, width, 3): upright, its longer side at most 512 pixels, white behind it.

    Raises:
        ValueError: no whole jpeg or png picture, or one of too many pixels; its text says which.
    """
    try:
        with Image.open(file, formats=("JPEG", "PNG")) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} pixels are too many")
            # So that a large jpeg is decoded at a half, a quarter or an eighth of its size, which is fast
            picture.draft(None, (2 * SIDE, 2 * SIDE))
            upright = _rgb(ImageOps.exif_transpose(picture))
            upright.thumbnail((SIDE, SIDE))
            return np.asarray(upright)
    except UnidentifiedImageError:
        raise ValueError("no jpeg or png picture") from None
    except Exception as error:  # a hostile file makes decoders raise nearly anything
        raise ValueError(str(error)) from None


def dataset(entries: list[tuple[Path, int]]) -> tf.data.Dataset:
    """Entries of a split as (image uint8 (height, width, 3), label int64), read when they are asked for."""
    names = [os.fsencode(file) for file, _ in entries]
    labels = np.array([label for _, label in entries], np.int64)

    def decode(name, label):
        image = tf.numpy_function(lambda name: read(Path(os.fsdecode(name))), [name], tf.uint8)
        return tf.ensure_shape(image, (None, None, 3)), label

    return tf.data.Dataset.from_tensor_slices((names, labels)).map(decode, tf.data.AUTOTUNE)


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # 16 bits a pixel, which `convert` would cut off at 255
        return Image.fromarray((np.asarray(picture) // 257).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture.convert("RGB")


def _visible(folder: Path) -> list[Path]:
    """What is in a folder, by name, without hidden entries such as .DS_Store and .ipynb_checkpoints."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except (OSError, ValueError) as error:  # ValueError: a path that no system has
        raise DataError(
            f"{folder} is no folder that can be read ({error}); expected one with a sub-folder of pictures "
            "for each class."
        ) from None


def _pictures(folder: Path, found: Folder) -> list[Path]:
    files = []
    for entry in _visible(folder):
        if entry.suffix.lower() in SUFFIXES and entry.is_file():
            files.append(entry)
        else:
            found.leave_out("that are no .jpg or .png files", f"{folder.name}/{entry.name}")
    if len(files) < 3:
        raise DataError(
            f"{folder} has {len(files)} .jpg or .png files; expected at least 3, one each to train, validate "
            "and test with. Add pictures to it, or remove the folder."
        )
    return files


def _split(files: list[Path]) -> dict[str, list[Path]]:
    files = sorted(files, key=lambda file: hashlib.sha256(os.fsencode(file.name)).digest())
    held_out = max(1, round(len(files) / 10))
    train = len(files) - 2 * held_out
    return {
        "train": files[:train],
        "validation": files[train : train + held_out],
        "test": files[train + held_out :],
    }


def _keep_usable(root: Path, found: Folder) -> None:
    """Try every picture; leave out those that cannot be read, and copies, which could be in two splits."""
    files = [file for entries in found.splits.values() for file, _ in entries]
    fingerprints = dict(zip(files, _fingerprints(files), strict=True))
    first = {}
    for split, entries in found.splits.items():
        usable = []
        for file, label in entries:
            name, (fingerprint, problem) = str(file.relative_to(root)), fingerprints[file]
            if problem:
                found.leave_out("that cannot be read", f"{name}: {problem}")
                continue
            twin, twin_label = first.setdefault(fingerprint, (file, label))
            if twin_label != label:
                raise DataError(f"{twin} and {file} are the same picture in two classes: remove one of them.")
            if twin != file:
                found.leave_out("copies", f"{name} of {twin.relative_to(root)}")
            else:
                usable.append((file, label))
        found.splits[split] = usable
        for label, name in enumerate(found.classes):
            if not any(label == other for _, other in usable):
                raise DataError(
                    f"{root / name} has no usable picture for the {split} split. {found.summary()} "
                    "Remove what cannot be used, or add pictures."
                )


def _fingerprints(files: list[Path]) -> list[tuple[str, str]]:
    """For each file a hash of its pixels, or, after an empty one, what is wrong with it."""

    def fingerprint(file: Path) -> tuple[str, str]:
        try:
            picture = read(file)
        except ValueError as error:
            return "", str(error)
        return hashlib.sha256(str(picture.shape).encode() + picture.tobytes()).hexdigest(), ""

    pool = ThreadPoolExecutor(THREADS)
    try:
        with warnings.catch_warnings():  # Pillow's warnings of files that are left out, and say so
            warnings.simplefilter("ignore")
            answers = pool.map(fingerprint, files)
            return [next(answers) for _ in progress(files, "Reading pictures")]
    finally:
        pool.shutdown(cancel_futures=True)
