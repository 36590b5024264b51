"""Makes mobilenet_v2.npz, the course's pretrained backbone, from the file of a published detector.

    npm pack @mediapipe/objectron@0.4.1675468480        (in a folder of its own; then unpack it)
    python -m tinylab.models.backbone.make package/objectron_solution_packed_assets.data

That file packs two: a list of names, and a detector of such objects in photographs, a .tflite: SSD on
MobileNetV2, its weights in float16, its batch normalization folded. This script takes MobileNetV2's weights
out of it, all of their bits, and compares the network that is built from them with the detector, on noise.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinylab import runners, tflite_file
from tinylab._tensorflow import keras
from tinylab.errors import DataError
from tinylab.models import backbone
from tinylab.tflite_file import Tensor

SOURCE = "npm package @mediapipe/objectron 0.4.1675468480, objectron_solution_packed_assets.data"
SHA256 = "470986ca5df183f41698da6de74b027d838fe289d77b5ab094497d350bee664e"
NAMES, DETECTOR = slice(4, 184), slice(184, 9_987_912)  # the first name is ???, for the background
DETECTOR_SIZE = 300  # pixels
LAST = "FeatureExtractor/MobilenetV2/Conv_1/Conv2D"  # how the name of its last tensor that is ours ends
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
TOLERANCE = 1e-4  # of activations between 0 and 6


def unpacked(path: Path) -> tuple[list[str], bytes]:
    """What the detector can find, and its .tflite.

    Raises:
        DataError: another file than the one that this script was written for.
    """
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise DataError(f"{path}: another file than {SOURCE}; its SHA-256 should be {SHA256}.")
    return content[NAMES].decode().split("\n")[:-1], content[DETECTOR]


def weights_of(detector: bytes) -> list[np.ndarray]:
    """Kernel and bias of every convolution of the backbone, in their order: float16, in Keras's layout."""
    file = tflite_file.parse(detector)
    stored = {o.outputs[0]: o.inputs[0] for o in file.operators if o.name == "DEQUANTIZE"}
    found = []
    for operator in file.operators:
        makes = file.tensors[operator.outputs[0]]
        if operator.name not in CONVOLUTIONS or makes.name.startswith("BoxPredictor"):  # a branch off
            continue
        kernel, bias = (values(detector, file.tensors[stored[i]]) for i in operator.inputs[1:])
        # LiteRT has the output channels first; of a depthwise kernel it is a 1 that stands there
        found += [np.moveaxis(kernel, 0, -1), bias]
        if makes.name.endswith(LAST):
            return found
    raise DataError(f"no tensor {LAST} in the detector.")


def values(detector: bytes, tensor: Tensor) -> np.ndarray:
    """The values of a constant of the file, in its own dtype."""
    data = schema.Model.GetRootAs(detector, 0).Buffers(tensor.buffer).DataAsNumpy()
    return data.view(tensor.dtype).reshape(tensor.shape)


def largest_difference(model: keras.Model, detector: bytes) -> float:
    """How far the last activations, before they are averaged, are from the detector's, at most."""
    file = tflite_file.parse(detector)
    wanted = next(i for i in file.computed if file.tensors[i].name.endswith(LAST))
    noise = np.random.default_rng(0).uniform(-1, 1, (1, DETECTOR_SIZE, DETECTOR_SIZE, 3)).astype(np.float32)
    trace = runners.load(detector, kernels="optimized").trace(noise)
    activations = keras.Model(model.input, model.get_layer("last_relu").output).predict(noise, verbose=0)
    return float(np.abs(activations - trace.tensors[file.tensors[wanted].name]).max())


def main() -> None:
    """Write mobilenet_v2.npz and its card beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="objectron_solution_packed_assets.data")
    names, detector = unpacked(parser.parse_args().source)
    weights = weights_of(detector)
    model = backbone.architecture(DETECTOR_SIZE)
    model.set_weights(weights)
    difference = largest_difference(model, detector)
    if difference > TOLERANCE:
        raise DataError(f"the network's activations differ from the detector's by up to {difference:.3g}.")
    target = Path(__file__).with_name("mobilenet_v2.npz")
    np.savez_compressed(target, *weights)
    facts = {
        "source": SOURCE,
        "source_sha256": SHA256,
        "detects": names,
        "parameters": model.count_params(),
        "weights_sha256": hashlib.sha256(b"".join(array.tobytes() for array in weights)).hexdigest(),
        "largest_difference": float(f"{difference:.1g}"),
    }
    target.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n")
    print(f"{target.name}: {target.stat().st_size:,} bytes; activations differ by at most {difference:.2g}")


if __name__ == "__main__":
    main()
