"""tinylab: the shared code of a course on running neural networks in 8 bits.

Importing this package imports neither TensorFlow nor LiteRT: the modules that need them do that.
"""

__version__ = "0.1.0"
