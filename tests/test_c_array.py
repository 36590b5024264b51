"""A model as C source: compiled and linked, as C and as C++, its bytes are the file's."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tinylab import c_array
from tinylab.errors import ModelFileError, TinylabError

READER = """
#include <stdint.h>
#include <stdio.h>
#include "{name}.h"
int main(void) {{
    fwrite({name}, 1, {name}_len, stdout);
    return (uintptr_t){name} % 16 != 0;
}}
"""


@pytest.fixture(params=[("cc", "c"), ("c++", "c++")], ids=["C", "C++"])
def compiled(request, tmp_path):
    """Compile a model with a program that writes it to stdout, and ends with 1 if it is not aligned."""
    compiler, language = request.param
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler} on this machine")

    def run(header: Path, source: Path) -> tuple[int, bytes]:
        reader = tmp_path / "reader.c"
        reader.write_text(READER.format(name=header.stem))
        program = tmp_path / "reader"
        warnings = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
        command = [compiler, *warnings, f"-I{header.parent}", "-x", language, reader, source, "-o", program]
        subprocess.run(list(map(str, command)), check=True)
        done = subprocess.run([program], capture_output=True)
        return done.returncode, done.stdout

    return run


def test_what_the_program_holds_is_the_file_aligned_byte_for_byte(compiled, cnn_files, tmp_path):
    written = c_array.write(cnn_files["int8"], tmp_path / "made" / "here")
    assert [path.name for path in written] == ["model_data.h", "model_data.cc"]
    assert compiled(*written) == (0, cnn_files["int8"])


def test_the_alignment_is_asked_for_in_both_languages(dense_files, tmp_path):
    """A large array is aligned on this machine even so; on others it is not."""
    source = c_array.write(dense_files["int8"], tmp_path)[1].read_text()
    assert (
        "#ifdef __cplusplus\nalignas(16)\n#else\n_Alignas(16)\n#endif\nconst unsigned char model_data[]"
        in source
    )


def test_two_models_go_into_one_program(compiled, dense_files, tmp_path):
    path = tmp_path / "a strange \\ name??/.tflite"
    path.parent.mkdir()
    path.write_bytes(dense_files["float32"])
    c_array.write(path, tmp_path, "first")
    header, _ = c_array.write(dense_files["int8"], tmp_path, "second")
    both = tmp_path / "both.cc"
    both.write_text('#include "first.cc"\n#include "second.cc"\n')
    assert compiled(header, both) == (0, dense_files["int8"])


@pytest.mark.parametrize(
    "name", ["", "1st", "my-model", "modèle", "a b", "../up", "x\n", "_hidden", "two__lines", "int", "class"]
)
def test_what_is_no_name_in_c_is_refused(dense_files, tmp_path, name):
    with pytest.raises(TinylabError, match="C and C\\+\\+ want a letter"):
        c_array.write(dense_files["int8"], tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_its_own_files_are_replaced(dense_files, tmp_path):
    c_array.write(dense_files["float32"], tmp_path)
    _, source = c_array.write(dense_files["int8"], tmp_path)
    assert f"model_data_len = {len(dense_files['int8'])};" in source.read_text()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["model_data.h", "model_data.cc"])
def test_files_of_others_are_left_as_they_are(dense_files, tmp_path, name):
    (tmp_path / name).write_text("int mine;\n")
    with pytest.raises(TinylabError, match=f"{name}: exists, and was not written by c_array"):
        c_array.write(dense_files["int8"], tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "int mine;\n")]


def test_a_full_disk_leaves_the_earlier_files_whole(dense_files, tmp_path, monkeypatch):
    written = c_array.write(dense_files["float32"], tmp_path)
    before = [path.read_bytes() for path in written]

    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TinylabError, match=r"cannot write .*: No space left on device"):
        c_array.write(dense_files["int8"], tmp_path)
    assert [path.read_bytes() for path in written] == before
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_device_that_is_really_full_is_an_error(dense_files, tmp_path):
    (tmp_path / ".model_data.cc.unfinished").symlink_to("/dev/full")
    with pytest.raises(TinylabError, match="No space left on device"):
        c_array.write(dense_files["int8"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_an_error(dense_files, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TinylabError, match=r"cannot write .*file: File exists"):
        c_array.write(dense_files["int8"], tmp_path / "file")


@pytest.mark.parametrize("content", [b"", b"no model", b"\x1c\0\0\0TFL3"])
def test_what_is_no_model_is_not_written(tmp_path, content):
    with pytest.raises(ModelFileError):
        c_array.write(content, tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []
