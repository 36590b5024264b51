"""A model as C source, to be compiled into a microcontroller's program: there are no files on a chip.

Two files are written: a header that declares the bytes and their number, and a source that defines
them. Both are plain C and C++ alike. The bytes are constants, so that the linker leaves them in flash, and
their address is a multiple of 16, as TensorFlow Lite Micro expects of a model.
"""

import re
from os import PathLike
from pathlib import Path

from tinylab import tflite_file, whole_file
from tinylab.errors import TinylabError

ALIGNMENT = 16
BYTES_A_LINE = 12
MARK = "// Written by tinylab.c_array"
# Words that C or C++ keeps for itself.
KEYWORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t
char8_t class co_await co_return co_yield compl concept const const_cast consteval constexpr
constinit continue decltype default delete do double dynamic_cast else enum explicit export extern
false float for friend goto if inline int long main mutable namespace new noexcept not not_eq
nullptr operator or or_eq private protected public register reinterpret_cast requires restrict
return short signed sizeof static static_assert static_cast struct switch template this thread_local
throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t while xor
xor_eq
""".split()  # noqa: SIM905

HEADER = """{mark} from {origin}: {size:,} bytes.
#ifndef {guard}
#define {guard}

#ifdef __cplusplus
extern "C" {{
#endif

extern const unsigned char {name}[];
extern const unsigned int {name}_len;

#ifdef __cplusplus
}}
#endif

#endif  // {guard}
"""

SOURCE = """{mark} from {origin}: {size:,} bytes.
#include "{name}.h"

#ifdef __cplusplus
alignas({alignment})
#else
_Alignas({alignment})
#endif
const unsigned char {name}[] = {{
{lines}
}};

const unsigned int {name}_len = {size};
"""


def write(
    model: bytes | str | PathLike, folder: str | PathLike, name: str = "model_data"
) -> tuple[Path, Path]:
    """Write a model as NAME.h and NAME.cc, which define NAME[] and NAME_len.

    Files that this function wrote earlier are replaced, others never; a file is there whole, or as
    it was before.

    Args:
        model: a .tflite file's bytes, or its path.
        folder: where to; made if it is not there.
        name: of the array and the files: letters, digits and _, as C wants it.

    Returns:
        Paths of the header and of the source.

    Raises:
        ModelFileError: not a .tflite.
        TinylabError: not a name for C; a file of that name that is somebody else's; no space, or no
            permission to write.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name, re.ASCII) or "__" in name or name in KEYWORDS:
        raise TinylabError(
            f"name {name!r}: C and C++ want a letter, then letters, digits and single _, and none of their "
            "own words; model_data, for instance."
        )
    content, origin = tflite_file.read(model)
    tflite_file.parse(model)
    values = {
        "mark": MARK,
        "origin": Path(origin).name.translate({ord(c): "_" for c in "\\\r\n"}),
        "name": name,
        "guard": f"{name.upper()}_H_",
        "size": len(content),
        "alignment": ALIGNMENT,
        "lines": _lines(content),
    }
    header, source = Path(folder) / f"{name}.h", Path(folder) / f"{name}.cc"
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for path in (header, source):
            _refuse_foreign(path)
    except OSError as error:
        raise TinylabError(f"cannot write {error.filename or folder}: {error.strerror or error}.") from error
    whole_file.write(source, SOURCE.format(**values).encode())
    whole_file.write(header, HEADER.format(**values).encode())
    return header, source


def _lines(content: bytes) -> str:
    rows = (content[i : i + BYTES_A_LINE] for i in range(0, len(content), BYTES_A_LINE))
    return "\n".join("    " + " ".join(f"0x{byte:02x}," for byte in row) for row in rows)


def _refuse_foreign(path: Path) -> None:
    if path.exists() and not path.read_bytes().startswith(MARK.encode()):
        raise TinylabError(
            f"{path}: exists, and was not written by c_array; choose another name or folder, or delete it."
        )
