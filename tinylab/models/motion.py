"""The network of the capstone: convolutions along time, over windows of a motion sensor."""

from tinylab._tensorflow import keras
from tinylab.data.motion import AXES, CLASSES, WINDOW
from tinylab.errors import TinylabError

POOLINGS = ("average", "max", "flatten")
MOST_BLOCKS = 6  # each halves the time: 100, 50, 25, 12, 6, 3, 1


def motion_cnn(
    filters: int = 16, blocks: int = 3, kernel: int = 5, separable: bool = False, pooling: str = "average"
) -> keras.Model:
    """Blocks of convolution, normalization, ReLU and pooling over pairs of moments; one dense layer.

    The convolutions are two-dimensional with a width of 1. As Conv1D, the converter would write an
    EXPAND_DIMS in front of each and a RESHAPE behind it, and quantization-aware training would take
    none of them. Layers have names, because a file holds them: Keras would number them on and on, and
    the same network would become larger with every one that is made.

    Args:
        filters: channels of the first block; each following block has half as many again.
        blocks: 1 to 6; each halves the time.
        kernel: moments that a convolution sees.
        separable: from the second block on, a depthwise and a 1x1 convolution in place of a full one.
        pooling: what the dense layer gets of each channel: its "average" or "max" over time, or all of
            it ("flatten").

    Returns:
        Input float32 (N, 100, 1, 6), made by `data.motion.prepare`; output float32 (N, 7), probabilities.

    Raises:
        TinylabError: settings out of range.
    """
    if not 1 <= blocks <= MOST_BLOCKS or pooling not in POOLINGS or filters < 1 or kernel < 1:
        raise TinylabError(
            f"filters={filters!r}, blocks={blocks!r}, kernel={kernel!r}, pooling={pooling!r} given: blocks "
            f"from 1 to {MOST_BLOCKS}, pooling one of {', '.join(POOLINGS)}, the others 1 or more expected."
        )
    layers = keras.layers

    def convolved(x: keras.layers.Layer, layer: keras.layers.Layer) -> keras.layers.Layer:
        # 0.9, because a training this short is over before the usual 0.99 has forgotten its beginning
        x = layers.BatchNormalization(momentum=0.9, name=f"{layer.name}_norm")(layer(x))
        return layers.ReLU(name=f"{layer.name}_relu")(x)

    windows = x = layers.Input((WINDOW, 1, len(AXES)), name="windows")
    for block in range(blocks):
        channels, size = round(filters * 1.5**block), (kernel, 1)
        if separable and block:
            depthwise = layers.DepthwiseConv2D(size, padding="same", use_bias=False, name=f"depthwise{block}")
            x, size = convolved(x, depthwise), 1
        convolution = layers.Conv2D(channels, size, padding="same", use_bias=False, name=f"conv{block}")
        x = convolved(x, convolution)
        x = layers.MaxPooling2D((2, 1), name=f"pool{block}")(x)
    last = {
        "average": layers.GlobalAveragePooling2D,
        "max": layers.GlobalMaxPooling2D,
        "flatten": layers.Flatten,
    }
    x = layers.Dropout(0.3)(last[pooling](name=pooling)(x))
    exercises = layers.Dense(len(CLASSES), activation="softmax", name="exercises")(x)
    return keras.Model(windows, exercises, name="motion_cnn")
