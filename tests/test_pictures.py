"""Pictures from three sources: what is the same about them, and whatever can be wrong with each."""

import contextlib
import http.server
import io
import itertools
import os
import shutil
import socket
import struct
import threading
import time
import zipfile
import zlib
from pathlib import Path

import filelock
import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from tinylab._tensorflow import tf
from tinylab.data import cats_vs_dogs, folder, photographs, pictures
from tinylab.data.photographs import make
from tinylab.errors import DataError

from .conftest import slow
from .environments import without_network

SPLITS = ("train", "validation", "test")
EACH = 40  # pictures of a class in the data sets made here


def quick_first(cases):
    """The first three always, the others in `make test`."""
    first, rest = list(cases)[:3], list(cases)[3:]
    return [*first, *slow(*rest)]


def noise(seed, height=9, width=12):
    """A picture unlike all others: uint8 (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def encoded(picture, kind="PNG", **options):
    content = io.BytesIO()
    Image.fromarray(picture).save(content, kind, **options)
    return content.getvalue()


def write(file, picture, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(file, **options)
    return file


# cats_vs_dogs, small: TFDS's own builder makes it from an archive that this machine serves


def archive():
    """A .zip like Microsoft's, of 2 x 40 pictures of several sizes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("readme[1].txt", "not a picture")
        for number in range(EACH):
            for label, name in enumerate(("Cat", "Dog")):
                picture = noise(2 * number + label, 8 + number % 5)
                file.writestr(f"PetImages/{name}/{number}.jpg", encoded(picture, "JPEG"))
    return content.getvalue()


@contextlib.contextmanager
def served(answer):
    """Serve one file on this machine; `answer` writes the response to a request's handler."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            with contextlib.suppress(OSError):
                answer(self)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.MonkeyPatch.context() as patched:
            url = f"http://127.0.0.1:{server.server_port}/kagglecatsanddogs.zip"
            patched.setattr(cats_vs_dogs.original, "_URL", url)
            patched.setattr(cats_vs_dogs.original, "_NUM_CORRUPT_IMAGES", 0)
            yield
        server.shutdown()


def send(content, status=200, length=None):
    def answer(handler):
        handler.send_response(status)
        handler.send_header("Content-Length", len(content) if length is None else length)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


@pytest.fixture
def wait():
    """Waits for ever, as far as a test can see."""
    ended = threading.Event()
    yield lambda *_, **__: ended.wait(60)
    ended.set()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A TFDS folder with a small cats_vs_dogs, downloaded from this machine; tests copy it."""
    root = tmp_path_factory.mktemp("tfds")
    with pytest.MonkeyPatch.context() as patched, served(send(archive())):
        patched.setenv("TFDS_DATA_DIR", str(root))
        pictures.load("cats_vs_dogs")
    return root


@pytest.fixture
def here(prepared, tmp_path, monkeypatch):
    """The same data set in TFDS's folder for this test."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return shutil.copytree(prepared, tmp_path / "tfds")


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """TFDS's folder for this test, which has nothing in it."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return tmp_path / "tfds"


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def own(tmp_path):
    """A folder of one's own pictures: 2 classes of 40."""
    for number in range(EACH):
        for label, name in enumerate(("cup", "key")):
            write(tmp_path / "own" / name / f"{number}.png", noise(2 * number + label, 8 + number % 5))
    return tmp_path / "own"


@pytest.fixture(params=["photographs", "cats_vs_dogs", "folder"])
def source(request):
    if request.param == "photographs":
        return request.param
    if request.param == "cats_vs_dogs":
        request.getfixturevalue("here")
        return request.param
    return request.getfixturevalue("own")


def samples(found):
    """By split: every picture as a hashable value, with its label."""
    return {
        split: [(image.shape, image.tobytes(), int(label)) for image, label in dataset.as_numpy_iterator()]
        for split, dataset in ((split, getattr(found, split)) for split in SPLITS)
    }


# What is the same for all of them


def test_every_source_gives_pictures_of_bytes_and_labels_of_int64(source):
    found = pictures.load(source)
    for split in SPLITS:
        image, label = getattr(found, split).element_spec
        assert (image.dtype, image.shape.rank, image.shape[-1]) == (tf.uint8, 3, 3)
        assert (label.dtype, label.shape.rank) == (tf.int64, 0)
        image, label = next(getattr(found, split).as_numpy_iterator())
        assert (image.dtype, label.dtype) == (np.uint8, np.int64)


def test_every_source_is_split_80_10_10_into_pictures_that_differ(source):
    found = pictures.load(source)
    parts = samples(found)
    total = sum(map(len, parts.values()))
    assert found.counts == {split: len(part) for split, part in parts.items()}
    assert found.counts == {"train": 0.8 * total, "validation": 0.1 * total, "test": 0.1 * total}
    assert len({image for part in parts.values() for _, image, _ in part}) == total


def test_every_source_has_every_class_in_every_split(source):
    found = pictures.load(source)
    for part in samples(found).values():
        assert {label for _, _, label in part} == set(range(len(found.classes)))


@pytest.mark.slow
def test_every_source_gives_the_same_pictures_in_the_same_order_again(source):
    assert samples(pictures.load(source)) == samples(pictures.load(source))


def test_every_source_can_be_batched_as_lessons_do(source):
    def format_image(image, label):
        return tf.image.resize(image, (32, 32)) / 127.5 - 1, label

    found = pictures.load(source, limit=10)
    batches = found.train.shuffle(10).map(format_image).batch(4).prefetch(1)
    assert [len(labels) for _, labels in batches] == [4, 4, 2]


@pytest.mark.slow
@pytest.mark.parametrize("limit", [10, *slow(10**6)])
def test_a_limit_is_the_most_samples_of_a_split_and_the_first_of_them(source, limit):
    everything, some = samples(pictures.load(source)), pictures.load(source, limit=limit)
    expected = {split: part[:limit] for split, part in everything.items()}
    assert samples(some) == expected
    assert some.counts == {split: len(part) for split, part in expected.items()}


def test_every_source_says_what_an_accuracy_means_and_how_coarse_it_is(source):
    found = pictures.load(source)
    assert "an accuracy tells" in found.note
    assert f"one of them changes the accuracy by {1 / found.counts['test']:.4f}" in found.note


@pytest.mark.parametrize("limit", [0, -1, 2.5, "10", True, np.nan])
def test_a_limit_that_is_no_number_of_samples_is_refused(limit):
    with pytest.raises(DataError, match="expected a whole number of samples"):
        pictures.load("photographs", limit=limit)


def test_a_limit_below_the_number_of_classes_is_refused(source):
    with pytest.raises(DataError, match=r"limit is 1; expected at least one picture for each of \d+ classes"):
        pictures.load(source, limit=1)


@pytest.mark.parametrize("source", [3, b"photographs", ["photographs"]])
def test_a_source_of_another_type_is_refused(source):
    with pytest.raises(DataError, match="expected"):
        pictures.load(source)


# The embedded photographs


def test_the_tiles_are_the_ten_photographs_and_no_pixel_is_in_two_splits():
    tiles = [
        (tile.shape, tile.tobytes(), label)
        for label, name in enumerate(photographs.CLASSES)
        for tile in photographs.tiles(photographs.photograph(name))
    ]
    parts = samples(pictures.load("photographs"))
    assert sorted(itertools.chain(*parts.values())) == sorted(tiles)
    assert len(tiles) == 10 * 100


def test_cutting_a_photograph_loses_nothing_and_repeats_nothing():
    picture = photographs.photograph("coffee")
    rows = photographs.tiles(picture).reshape(10, 10, 40, 40, 3)
    assert np.array_equal(np.block([[[tile] for tile in row] for row in rows]), picture)


def test_every_ten_tiles_hold_each_photograph_once():
    for part in samples(pictures.load("photographs")).values():
        labels = np.array([label for _, _, label in part]).reshape(-1, 10)
        assert (np.sort(labels) == np.arange(10)).all()


def test_tfds_loads_the_photographs_with_the_line_that_loads_cats_and_dogs():
    split = ["train[:80%]", "train[80%:90%]", "train[90%:]"]
    loaded, info = tfds.load("tinylab_photographs", split=split, with_info=True, as_supervised=True)
    assert [len(part) for part in loaded] == [800, 100, 100]
    assert info.features["label"].names == photographs.CLASSES


def test_every_photograph_has_its_author_its_terms_and_its_original_named():
    stored = Path(photographs.__file__).parent
    readme = (stored / "README.md").read_text()
    rows = {line.split(" | ")[0].strip("| "): line for line in readme.splitlines() if ".jpg |" in line}
    assert set(rows) == {file.name for file in stored.glob("*.jpg")}
    assert {Path(name).stem for name in rows} == set(photographs.CLASSES) == set(make.ORIGINALS)
    assert all("CC0 1.0" in row or "public domain" in row for row in rows.values())


def test_an_original_that_has_changed_is_not_used(tmp_path):
    file = tmp_path / make.WALLPAPER
    write(file, noise(0))
    with pytest.raises(ValueError, match="SHA-256"):
        make.original(tmp_path, "dandelions")


# Which source, when none is named


def test_without_a_source_prepared_cats_and_dogs_are_used_and_no_network(here, no_network):
    assert pictures.load().source == "cats_vs_dogs"


def test_without_a_source_and_without_cats_and_dogs_the_photographs_are_used_and_no_network(
    empty, no_network
):
    assert pictures.load().source == "photographs"
    assert not empty.exists() or not list(empty.glob("cats*"))


@pytest.mark.slow
@pytest.mark.parametrize("expected", ["photographs", "cats_vs_dogs"])
def test_a_process_without_a_network_loads_what_is_there(run_python, request, tmp_path, expected):
    root = request.getfixturevalue("prepared") if expected == "cats_vs_dogs" else tmp_path / "nothing"
    code = (
        "from tinylab.data import pictures; found = pictures.load();"
        "print(found.source, sum(1 for _ in found.train) == found.counts['train'])"
    )
    assert run_python(code, prefix=without_network(), TFDS_DATA_DIR=root).split() == [expected, "True"]


@pytest.mark.slow
def test_a_process_without_a_network_is_told_so_at_once(run_python, tmp_path):
    code = """
import time
from tinylab.data import pictures
begin = time.monotonic()
try:
    pictures.load("cats_vs_dogs")
except Exception as error:
    print(type(error).__name__, time.monotonic() - begin < 60, error)
"""
    printed = run_python(code, prefix=without_network(), TFDS_DATA_DIR=tmp_path / "nothing")
    if not without_network():
        pytest.skip("this system cannot take the network away")
    assert printed.startswith("DataError True cats_vs_dogs has to be downloaded")
    assert not (tmp_path / "nothing").exists()


# cats_vs_dogs


def test_cats_and_dogs_are_what_tfds_itself_loads(here):
    split = ["train[:80%]", "train[80%:90%]", "train[90%:]"]
    loaded = tfds.load("cats_vs_dogs", split=split, as_supervised=True, data_dir=here, download=False)
    found = pictures.load("cats_vs_dogs")
    expected = pictures.Pictures(*loaded, found.classes, found.counts, "", "")
    assert samples(found) == samples(expected)
    assert (found.classes, found.source) == (("cat", "dog"), "cats_vs_dogs")


def test_prepared_cats_and_dogs_are_not_downloaded_again(here, no_network):
    assert pictures.load("cats_vs_dogs").counts["train"] == 64


def record(root):
    return next(root.glob("cats_vs_dogs/4.0.1/*tfrecord*"))


def missing_record(root):
    record(root).unlink()


def truncated_record(root):
    os.truncate(record(root), record(root).stat().st_size - 1)


def corrupted_description(root):
    (root / "cats_vs_dogs" / "4.0.1" / "dataset_info.json").write_text("{")


def empty_description(root):
    (root / "cats_vs_dogs" / "4.0.1" / "dataset_info.json").write_text("")


def missing_description(root):
    (root / "cats_vs_dogs" / "4.0.1" / "dataset_info.json").unlink()


def missing_features(root):
    (root / "cats_vs_dogs" / "4.0.1" / "features.json").unlink()


DAMAGES = [
    truncated_record,
    corrupted_description,
    missing_record,
    empty_description,
    missing_description,
    missing_features,
]


@pytest.mark.slow
@pytest.mark.parametrize("damage", quick_first(DAMAGES))
def test_damaged_cats_and_dogs_do_not_count_as_prepared_and_are_replaced(here, damage):
    damage(here)
    assert not cats_vs_dogs.is_prepared()
    with served(send(archive())):
        assert pictures.load("cats_vs_dogs").counts["train"] == 64
    assert cats_vs_dogs.is_prepared()


def failing(call):
    """The DataError of a call, which shows nothing of TFDS's traceback."""
    with pytest.raises(DataError) as caught:
        call()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert "load('photographs')" in str(caught.value)
    return str(caught.value)


def leftovers(root):
    return sorted(path.name for path in root.iterdir() if path.suffix != ".lock") if root.exists() else []


ANSWERS = {
    "a dead link": (send(b"", 404), "404"),
    "a zip cut short": (send(archive()[:-5000]), "could not be prepared"),
    "no zip": (send(b"<html>please log in</html>"), "could not be prepared"),
    "an empty file": (send(b""), "could not be prepared"),
    "a server in trouble": (send(b"", 503), "503"),
    "a connection that breaks": (send(archive()[:-5000], length=len(archive())), "could not be prepared"),
}


@pytest.mark.parametrize("answer", quick_first(ANSWERS))
def test_a_download_that_fails_is_explained_and_leaves_nothing(empty, answer):
    response, expected = ANSWERS[answer]
    with served(response):
        assert expected in failing(lambda: pictures.load("cats_vs_dogs"))
    assert leftovers(empty) == []


def test_a_server_that_says_nothing_is_waited_for_with_a_limit(empty, monkeypatch, wait):
    monkeypatch.setattr(cats_vs_dogs, "ANSWER_SECONDS", 0.3)
    begin = time.monotonic()
    with served(wait):
        assert "cannot be reached" in failing(lambda: pictures.load("cats_vs_dogs"))
    assert time.monotonic() - begin < 30


def test_a_name_that_is_looked_up_for_ever_is_waited_for_with_a_limit(empty, monkeypatch, wait):
    monkeypatch.setattr(cats_vs_dogs, "ANSWER_SECONDS", 0.3)

    def hang(*_, **__):
        wait()
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    begin = time.monotonic()
    assert "no answer within 0.3 s" in failing(lambda: pictures.load("cats_vs_dogs"))
    assert time.monotonic() - begin < 30


def test_no_network_is_explained_and_nothing_is_made(empty, monkeypatch):
    def refuse(*_, **__):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert "Go online" in failing(lambda: pictures.load("cats_vs_dogs"))
    assert not empty.exists()


def test_too_little_room_is_found_before_anything_is_downloaded(empty, monkeypatch):
    monkeypatch.setattr(cats_vs_dogs, "ROOM", 10**18)
    with served(send(archive())), pytest.raises(DataError, match="make room"):
        pictures.load("cats_vs_dogs")
    assert leftovers(empty) == []


def test_a_folder_that_cannot_be_made_is_explained(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "file" / "below"))
    with served(send(archive())):
        assert "file/below" in failing(lambda: pictures.load("cats_vs_dogs"))


def full_disk(*_, **__):
    raise OSError(28, "No space left on device")


def interrupted(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("accident", "expected", "text"),
    [(full_disk, DataError, "No space left"), (interrupted, KeyboardInterrupt, None)],
)
def test_an_accident_while_preparing_leaves_nothing_and_the_next_try_succeeds(
    empty, monkeypatch, accident, expected, text
):
    with served(send(archive())):
        with monkeypatch.context() as patched:
            patched.setattr(cats_vs_dogs.original.CatsVsDogs, "_generate_examples", accident)
            with pytest.raises(expected, match=text):
                pictures.load("cats_vs_dogs")
        assert leftovers(empty) == []
        assert pictures.load("cats_vs_dogs").counts["test"] == 8


def test_what_a_killed_process_left_behind_is_removed(empty):
    half = empty / "cats_vs_dogs.download" / "cats_vs_dogs" / "4.0.1"
    half.mkdir(parents=True)
    (half / "dataset_info.json").write_text("{")
    with served(send(archive())):
        pictures.load("cats_vs_dogs")
    assert leftovers(empty) == ["cats_vs_dogs"]


def test_a_second_process_does_not_download_at_the_same_time(empty):
    empty.mkdir()
    with (
        filelock.FileLock(empty / "cats_vs_dogs.lock"),
        served(send(archive())),
        pytest.raises(DataError, match="another process"),
    ):
        pictures.load("cats_vs_dogs")


# A folder: what a picture becomes


def test_a_png_keeps_its_pixels(tmp_path):
    assert np.array_equal(folder.read(write(tmp_path / "a.png", noise(0))), noise(0))


def test_a_grey_picture_gets_three_equal_channels(tmp_path):
    picture = folder.read(write(tmp_path / "a.jpg", noise(0)[..., 0]))
    assert picture.shape == (9, 12, 3)
    assert (picture == picture[..., :1]).all()


def test_what_is_transparent_becomes_white(tmp_path):
    picture = np.dstack([noise(0), np.full((9, 12), 255, np.uint8)])
    picture[:, 6:, 3] = 0
    seen = folder.read(write(tmp_path / "a.png", picture))
    assert np.array_equal(seen[:, :6], picture[:, :6, :3])
    assert (seen[:, 6:] == 255).all()


def test_sixteen_bits_become_eight_by_scaling_and_not_by_cutting_off(tmp_path):
    picture = np.linspace(0, 65535, 108).astype(np.uint16).reshape(9, 12)
    assert np.array_equal(folder.read(write(tmp_path / "a.png", picture))[..., 1], picture // 257)


def test_a_palette_and_a_black_and_white_picture_are_read(tmp_path):
    colours = Image.fromarray(noise(0)).quantize(4)
    colours.save(tmp_path / "palette.png")
    assert np.array_equal(folder.read(tmp_path / "palette.png"), np.asarray(colours.convert("RGB")))
    Image.fromarray(noise(0)[..., 0] > 127).save(tmp_path / "two.png")
    assert set(np.unique(folder.read(tmp_path / "two.png"))) == {0, 255}


def test_a_jpeg_of_four_inks_is_read(tmp_path):
    Image.new("CMYK", (12, 9), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    red, green, blue = folder.read(tmp_path / "a.jpg").mean((0, 1))
    assert red > 200 > 50 > max(green, blue)


def test_a_photograph_taken_with_the_phone_turned_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees to the right
    picture = np.repeat(np.repeat(noise(0), 16, 0), 16, 1)
    turned = folder.read(write(tmp_path / "a.png", picture, exif=exif))
    assert np.array_equal(turned, np.rot90(picture, -1))


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_a_large_picture_is_brought_down_to_512_pixels_and_keeps_its_form(tmp_path, kind):
    picture = folder.read(write(tmp_path / f"a.{kind}", np.zeros((1500, 3000, 3), np.uint8)))
    assert picture.shape == (256, 512, 3)


# A folder: what is left out, and counted


def header(width, height):
    """A png that promises many pixels and holds none."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


UNREADABLE = {
    "short.jpg": encoded(noise(0, 200, 200), "JPEG")[:-3000],
    "large.png": header(9_400, 9_400),
    "bomb.png": header(60_000, 60_000),
    "empty.jpg": b"",
    "text.png": b"no picture",
    "short.png": encoded(noise(0, 200, 200))[:-3000],
    "header.jpg": encoded(noise(0), "JPEG")[:30],
    "flipped.png": encoded(noise(0)).replace(b"IDAT", b"IDBT"),
    "gif.jpg": encoded(noise(0), "GIF"),
}


@pytest.mark.parametrize("name", quick_first(UNREADABLE))
def test_a_file_that_cannot_be_read_is_left_out_and_named(own, name, recwarn):
    before = pictures.load(own)
    (own / "cup" / name).write_bytes(UNREADABLE[name])
    found = pictures.load(own)
    assert f"1 that cannot be read (cup/{name}: " in found.note
    assert sum(found.counts.values()) == sum(before.counts.values())
    assert sum(map(len, samples(found).values())) == sum(found.counts.values())
    assert not [warning for warning in recwarn if warning.category is Image.DecompressionBombWarning]


@pytest.mark.parametrize("side", [9_000, 60_000])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, side, monkeypatch):
    (tmp_path / "bomb.png").write_bytes(header(side, side))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(ValueError, match="pixels"):
        folder.read(tmp_path / "bomb.png")


def test_other_files_are_left_out_and_hidden_ones_not_even_mentioned(own):
    expected = samples(pictures.load(own))
    (own / "readme.txt").write_text("")
    (own / "cup" / "notes.txt").write_text("")
    (own / "cup" / "more").mkdir()
    (own / "cup" / "folder.jpg").mkdir()
    for hidden in (own / ".DS_Store", own / "cup" / ".DS_Store", own / "cup" / "._0.png"):
        hidden.write_bytes(b"\0")
    write(own / ".ipynb_checkpoints" / "0.png", noise(0))
    found = pictures.load(own)
    assert samples(found) == expected
    assert (
        "1 beside the class folders (readme.txt); 3 that are no .jpg or .png files (cup/folder.jpg)"
        in found.note
    )
    assert "DS_Store" not in found.note


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_a_pipe_is_not_waited_for(own):
    os.mkfifo(own / "cup" / "pipe.jpg")
    assert "cup/pipe.jpg" in pictures.load(own).note


def test_a_copy_is_left_out_whatever_its_name_and_format(own):
    before = pictures.load(own).counts
    shutil.copy(own / "cup" / "3.png", own / "cup" / "copy.png")
    write(own / "cup" / "again.png", noise(6, 8 + 3), optimize=True, compress_level=1)
    found = pictures.load(own)
    assert sum(found.counts.values()) == sum(before.values())
    assert "2 copies (" in found.note
    parts = samples(found)
    assert len({image for part in parts.values() for _, image, _ in part}) == sum(map(len, parts.values()))


def test_links_are_followed_and_dangling_ones_left_out(own, tmp_path):
    outside = write(tmp_path / "elsewhere" / "a.png", noise(1000))
    (own / "cup" / "link.png").symlink_to(outside)
    (own / "cup" / "nowhere.png").symlink_to(tmp_path / "nowhere.png")
    (own / "cup" / "itself.png").symlink_to(own / "cup" / "itself.png")
    (own / "cup" / "up").symlink_to(own)
    found = pictures.load(own)
    assert sum(found.counts.values()) == 2 * EACH + 1
    assert "3 that are no .jpg or .png files" in found.note


def test_the_end_of_a_name_may_be_in_capitals(own):
    (own / "cup" / "3.png").rename(own / "cup" / "3.PNG")
    assert sum(pictures.load(own).counts.values()) == 2 * EACH


def test_a_file_name_of_any_bytes_is_read(own):
    name = os.fsencode(own / "cup") + b"/\xff\xfe \xc3\xa9.png"
    try:
        Path(os.fsdecode(name)).write_bytes(encoded(noise(1000)))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    assert sum(map(len, samples(pictures.load(own)).values())) == 2 * EACH + 1


# A folder: what is refused


def test_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for source in (tmp_path / "nowhere", tmp_path / "file", f"{tmp_path}/nul\0", "~nobody-has-this-name"):
        with pytest.raises(DataError, match="no folder that can be read"):
            pictures.load(source)


@pytest.mark.parametrize("classes", [(), ("cup",)])
def test_fewer_than_two_classes_are_refused(tmp_path, classes):
    for name in classes:
        for number in range(5):
            write(tmp_path / name / f"{number}.png", noise(number))
    with pytest.raises(DataError, match=f"has {len(classes)} sub-folders; expected one for each class"):
        pictures.load(tmp_path)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_class_of_too_few_pictures_is_refused_and_named(own, count):
    (own / "pen").mkdir()
    for number in range(count):
        write(own / "pen" / f"{number}.png", noise(1000 + number))
    with pytest.raises(DataError, match=rf"pen has {count} .jpg or .png files; expected at least 3"):
        pictures.load(own)


def test_three_pictures_of_a_class_are_one_for_each_split(own):
    for number in range(3):
        write(own / "pen" / f"{number}.png", noise(1000 + number))
    parts = samples(pictures.load(own))
    assert [sum(label == 2 for _, _, label in part) for part in parts.values()] == [1, 1, 1]


def test_a_class_whose_pictures_cannot_be_read_is_refused_and_says_why(own):
    for number in range(3):
        (own / "key" / f"{number}.png").rename(own / f"{number}.png")
    shutil.rmtree(own / "key")
    (own / "key").mkdir()
    for number in range(3):
        (own / "key" / f"{number}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"key has no usable picture for the train split.*3 .*key/\d.png"):
        pictures.load(own)


def test_one_picture_in_two_classes_is_refused_and_both_are_named(own):
    shutil.copy(own / "cup" / "3.png", own / "key" / "twin.png")
    with pytest.raises(DataError, match="the same picture in two classes") as caught:
        pictures.load(own)
    assert str(own / "cup" / "3.png") in str(caught.value)
    assert str(own / "key" / "twin.png") in str(caught.value)


# A folder: splits


def named(own):
    """By split, the files that `find` chose."""
    return {
        split: [str(file.relative_to(own)) for file, _ in entries]
        for split, entries in folder.find(own, None).splits.items()
    }


def test_the_split_follows_from_file_names_wherever_the_folder_is(own, tmp_path):
    before = named(own)
    for file in sorted(own.rglob("*.png"), reverse=True):
        (tmp_path / "moved" / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tmp_path / "moved" / file.parent.name)
    assert named(tmp_path / "moved") == before


def test_another_picture_moves_hardly_any_to_another_split(own):
    before = {name: split for split, names in named(own).items() for name in names}
    write(own / "cup" / "new.png", noise(1000))
    after = {name: split for split, names in named(own).items() for name in names}
    assert sum(after[name] != split for name, split in before.items()) <= 2


@given(st.sets(st.integers(), min_size=3, max_size=200))
def test_every_number_of_files_is_split_without_rest_and_none_is_empty(numbers):
    files = [Path(f"{number}.png") for number in numbers]
    parts = folder._split(files)
    assert sorted(itertools.chain(*parts.values())) == sorted(files)
    assert min(map(len, parts.values())) >= 1
    assert len(parts["test"]) == len(parts["validation"]) == max(1, round(len(files) / 10))


def test_classes_take_turns_so_that_a_limit_leaves_none_out(own):
    for number in range(3):
        (own / "pen").mkdir(exist_ok=True)
        write(own / "pen" / f"{number}.png", noise(1000 + number))
    for part in samples(pictures.load(own, limit=3)).values():
        assert [label for _, _, label in part] == [0, 1, 2]


def test_with_a_limit_only_as_many_files_are_read(own, monkeypatch):
    read, calls = folder.read, []
    monkeypatch.setattr(folder, "read", lambda file: calls.append(file) or read(file))
    pictures.load(own, limit=5)
    assert len(calls) == 3 * 5


def test_pictures_are_read_when_they_are_asked_for(own):
    found = pictures.load(own)
    for file in own.rglob("*.png"):
        write(file, np.full((5, 7, 3), 99, np.uint8))
    assert all((image == 99).all() for image, _ in found.test.as_numpy_iterator())
