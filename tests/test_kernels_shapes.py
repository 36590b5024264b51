"""Operators that choose or move codes, one at a time against LiteRT's reference kernels."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tinylab import runners
from tinylab.errors import ModelFileError
from tinylab.one_operator import Values, tflite

ROUNDS = 40


def agree(operator, options, inputs, output):
    """Whether both answer the same; the output's shape in the file is LiteRT's business."""
    content, x = tflite(operator, options, inputs, output), inputs[0].array
    theirs = runners.load(content, kernels="reference").predict_integers(x)
    ours = runners.load(content, engine="integer").predict_integers(x)
    return ours.shape == theirs.shape and ours.dtype == theirs.dtype and np.array_equal(ours, theirs)


def images(seed, dtype):
    """ROUNDS times a random image, and a generator for what else is random."""
    rng = np.random.default_rng(seed)
    for _ in range(ROUNDS):
        zero_point = int(rng.integers(-128, 128)) if dtype == np.int8 else 0
        x = rng.integers(-128, 128, rng.integers(1, 9, 4)).astype(dtype)
        yield rng, Values(x, 0.1, zero_point)


@pytest.fixture(params=[np.int8, np.int16], ids=["int8", "int16"])
def dtype(request):
    return request.param


@pytest.mark.parametrize(("align_corners", "half_pixel"), [(False, False), (True, False), (False, True)])
def test_resizing_takes_the_nearest_pixel(dtype, align_corners, half_pixel):
    options = schema.ResizeNearestNeighborOptionsT()
    options.alignCorners, options.halfPixelCenters = align_corners, half_pixel
    for rng, x in images(0, dtype):
        size = rng.integers(1, 20, 2).astype(np.int32)
        shape = (len(x.array), *size, x.array.shape[3])
        assert agree(
            "RESIZE_NEAREST_NEIGHBOR",
            options,
            [x, Values(size)],
            Values(np.zeros(shape, dtype), 0.1, x.zero_point),
        )


@pytest.mark.parametrize("keep_dims", [False, True])
def test_the_largest_along_axes(dtype, keep_dims):
    options = schema.ReducerOptionsT()
    options.keepDims = keep_dims
    for rng, x in images(1, dtype):
        axes = (1 + rng.permutation(3)[: rng.integers(1, 4)] - 4 * rng.integers(0, 2)).astype(np.int32)
        largest = x.array.max(axis=tuple(axes.tolist()), keepdims=keep_dims)
        assert agree("REDUCE_MAX", options, [x, Values(axes)], Values(largest, 0.1, x.zero_point))


@pytest.mark.parametrize("operator", ["MAXIMUM", "MINIMUM"])
def test_the_larger_and_the_smaller_of_two(dtype, operator):
    for rng, x in images(2, dtype):
        shape = [(1, 1, 1, x.array.shape[3]), x.array.shape, (1,)][rng.integers(3)]
        other = Values(rng.integers(-128, 128, shape).astype(dtype), 0.1, x.zero_point)
        assert agree(operator, schema.MaximumMinimumOptionsT(), [x, other], x)


def test_margins_of_a_given_code(dtype):
    for rng, x in images(3, dtype):
        margins = rng.integers(0, 3, (4, 2)).astype(np.int32)
        margins[0] = 0
        value = Values(np.array([rng.integers(-128, 128)], dtype), 0.1, x.zero_point)
        shape = np.add(x.array.shape, margins.sum(axis=1))
        output = Values(np.zeros(shape, dtype), 0.1, x.zero_point)
        assert agree("PADV2", schema.PadV2OptionsT(), [x, Values(margins), value], output)


def test_a_new_size_that_is_far_too_large_is_refused():
    x, size = Values(np.zeros((1, 2, 2, 1), np.int8), 0.1), Values(np.int32([30000, 30000]))
    content = tflite("RESIZE_NEAREST_NEIGHBOR", schema.ResizeNearestNeighborOptionsT(), [x, size], x)
    with pytest.raises(ModelFileError, match="far too large"):
        runners.load(content, engine="integer")
