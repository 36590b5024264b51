"""What one inference has to do, against what a pencil says."""

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tinylab import tflite_file
from tinylab.errors import ModelFileError
from tinylab.one_operator import Values, tflite
from tinylab.workload import workload


def of(operator, options, inputs, output):
    (work,) = workload(
        tflite(operator, options, [Values(np.zeros(*i), 0.1) for i in inputs], Values(np.zeros(*output), 0.1))
    )
    return work


def test_a_convolution():
    """Three filters of 2x2 over two channels, at 4x5 positions."""
    work = of(
        "CONV_2D",
        schema.Conv2DOptionsT(),
        [((1, 5, 6, 2), np.int8), ((3, 2, 2, 2), np.int8), (3, np.int32)],
        ((1, 4, 5, 3), np.int8),
    )
    assert work.operator == "CONV_2D"
    assert work.macs == 3 * 2 * 2 * 2 * 4 * 5
    assert (work.constant_bytes, work.read_bytes, work.written_bytes) == (24 + 12, 60, 60)
    assert work.bytes_moved == 156


def test_a_depthwise_convolution_has_one_mac_a_weight_and_position():
    work = of(
        "DEPTHWISE_CONV_2D",
        schema.DepthwiseConv2DOptionsT(),
        [((1, 5, 6, 2), np.int8), ((1, 2, 2, 2), np.int8), (2, np.int32)],
        ((1, 4, 5, 2), np.int8),
    )
    assert work.macs == 2 * 2 * 4 * 5 * 2


def test_a_dense_layer_of_16_bit_activations():
    work = of(
        "FULLY_CONNECTED",
        schema.FullyConnectedOptionsT(),
        [((1, 7), np.int16), ((3, 7), np.int8), (3, np.int64)],
        ((1, 3), np.int16),
    )
    assert work.macs == 21
    assert (work.constant_bytes, work.read_bytes, work.written_bytes) == (21 + 24, 14, 6)


def test_a_transposed_convolution_sweeps_its_input():
    """The output's shape is constant, and so are the weights; the third input is the image."""
    work = of(
        "TRANSPOSE_CONV",
        schema.TransposeConvOptionsT(),
        [(4, np.int32), ((3, 2, 2, 5), np.int8), ((1, 4, 4, 5), np.int8)],
        ((1, 8, 8, 3), np.int8),
    )
    assert work.macs == 3 * 2 * 2 * 5 * 4 * 4


def test_operators_without_weights_have_no_macs():
    work = of("ADD", schema.AddOptionsT(), [((1, 9), np.int8), ((1, 9), np.int8)], ((1, 9), np.int8))
    assert work.macs == 0
    assert work.bytes_moved == 27


def test_text_counts_nothing():
    content = tflite(
        "RESHAPE", None, [Values(np.zeros((1, 4), np.int8), 0.1)], Values(np.zeros((4,), np.int8), 0.1)
    )
    model = schema.ModelT.InitFromPackedBuf(content)
    model.subgraphs[0].tensors[1].type = schema.TensorType.STRING
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    (work,) = workload(bytes(builder.Output()))
    assert (work.read_bytes, work.written_bytes) == (4, 0)


def test_the_courses_network(cnn_files):
    """small_cnn: 26x26 positions of 16 filters of 3x3, 11x11 of 32 of 3x3x16, then 800 to 32 to 10."""
    in_float, in_int8 = (workload(cnn_files[recipe]) for recipe in ("float32", "int8"))
    macs = 26 * 26 * 16 * 9 + 11 * 11 * 32 * 9 * 16 + 800 * 32 + 32 * 10
    assert sum(work.macs for work in in_float) == sum(work.macs for work in in_int8) == macs
    assert sum(work.written_bytes for work in in_float) == 4 * sum(work.written_bytes for work in in_int8)
    file = tflite_file.parse(cnn_files["int8"])
    assert [work.operator for work in in_int8] == [operator.name for operator in file.operators]


def test_a_damaged_file_is_refused(cnn_files):
    content = cnn_files["int8"]
    with pytest.raises(ModelFileError):
        workload(content[: len(content) // 2])
