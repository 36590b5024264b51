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
    none of them.

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
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(layer(x)))

    windows = x = layers.Input((WINDOW, 1, len(AXES)))
    for block in range(blocks):
        channels, size = round(filters * 1.5**block), (kernel, 1)
        if separable and block:
            x = convolved(x, layers.DepthwiseConv2D(size, padding="same", use_bias=False))
            size = 1
        x = convolved(x, layers.Conv2D(channels, size, padding="same", use_bias=False))
        x = layers.MaxPooling2D((2, 1))(x)
    if pooling == "average":
        x = layers.GlobalAveragePooling2D()(x)
    elif pooling == "max":
        x = layers.GlobalMaxPooling2D()(x)
    else:
        x = layers.Flatten()(x)
    x = layers.Dropout(0.3)(x)
    return keras.Model(windows, layers.Dense(len(CLASSES), activation="softmax")(x), name="motion_cnn")
