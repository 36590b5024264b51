"""Files that `tinylab.conversion` would not make: the converter's options one by one, odd layers."""

import numpy as np


def tflite(model, shape, samples=0, integer_io=False, **options):
    """Convert a Keras model with the given attributes of the converter; (1, *shape) is its input.

    With optimize=True its default optimizations, with samples so many representative inputs.
    """
    from tinylab._tensorflow import tf
    from tinylab.quiet import quiet

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if options.pop("optimize", False):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if samples:
        inputs = np.random.default_rng(0).normal(size=(samples, 1, *shape)).astype(np.float32)
        converter.representative_dataset = lambda: ([x] for x in inputs)
    if integer_io:
        converter.inference_input_type = converter.inference_output_type = tf.int8
    for name, value in options.items():
        assert hasattr(converter, name)
        setattr(converter, name, value)
    with quiet():
        return converter.convert()


def sequential(shape, *layers):
    from tinylab._tensorflow import keras

    return random_weights(keras.Sequential([keras.layers.Input(shape, batch_size=1), *layers]))


def random_weights(model):
    """Give a model weights and biases that differ: the converter stores equal constants once."""
    generator = np.random.default_rng(0)
    model.set_weights([np.abs(generator.normal(size=w.shape)) for w in model.get_weights()])
    return model
