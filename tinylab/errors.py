"""The errors that tinylab raises on purpose: each says what was given, what was expected, what to do."""

import zipfile
import zlib

# What np.load raises on an .npy or .npz file that is none, is cut short or corrupted.
DAMAGED_NUMPY_FILE = (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class TinylabError(Exception):
    """Anything that a user can put right; the command line prints it as one line."""


class DataError(TinylabError):
    """Input data, or a data set, of a wrong kind, shape, dtype or content."""


class ModelFileError(TinylabError):
    """A file that is no usable .tflite model, or one that an engine cannot run."""


class ConversionError(TinylabError):
    """A model that cannot be converted, or whose converted file does not answer as it does."""


class AgreementWarning(UserWarning):
    """A quantized file answers very differently from the model it was made from."""


class FloatInsideWarning(UserWarning):
    """A file that was to be all integer computes something in float32."""


class RepresentativeDataWarning(UserWarning):
    """Representative data that do not look like what the model was trained on."""
