"""From a Keras model or a SavedModel to a .tflite file, by one of six recipes, checked.

A converter can write a file that does not answer as its model does, and say nothing. So nothing
leaves `convert` before it has been run beside the model it was made from.
"""

from tinylab.conversion.recipes import Recipe, convert

__all__ = ["Recipe", "convert"]
