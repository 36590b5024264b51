"""Engine "integer": a network in integers only, written to be read.

`graph` reads the file, `operators` says which operators and types there are, and `kernels` holds
what each of them computes: start there. The only real numbers are at the ends, where QUANTIZE and
DEQUANTIZE turn float32 into codes and back, and in the constants M that `fixed_point` turns into
integers before a layer runs.

What overflows 32 bits wraps around, halves are rounded as the reference kernels round them: for every
file that it takes, the engine answers to the bit what `load(model, kernels="reference")` answers,
measured with ai-edge-litert 2.3.0 on x86-64 Linux. Two things depend on the machine there, too: the
8-bit tables of LOGISTIC and TANH, which LiteRT makes with the C library's functions (a code of TANH in
some millions differs where its output has an unusual scale), and what a processor makes of a
floating-point number that 32 bits do not hold.

There is one exception, two of 4,000 random networks: where a RESHAPE, and what reads it, get the memory
of the RESHAPE's input, which is read once more afterwards, LiteRT's interpreter reads what was written over
it. Its `trace`, which keeps all tensors, is right, and is what the engine answers.
"""

import math
from collections.abc import Mapping
from os import PathLike

import numpy as np
from threadpoolctl import ThreadpoolController

from tinylab.errors import DataError, ModelFileError, TinylabError
from tinylab.runners.base import FixedInside, Runner, TensorSpec
from tinylab.runners.integer.batch import for_any_batch
from tinylab.runners.integer.graph import Node, read
from tinylab.runners.integer.kernels.sizes import checked, limited
from tinylab.runners.integer.operators import OPERATORS, VARIADIC, Kernel, check

# One thread, as LiteRT has it: shared between processors, matrices this small take longer.
BLAS = ThreadpoolController()
# Values of a network's largest tensor in one invocation: fewer, and NumPy's calls cost more than what
# they compute; more, and it all goes through the memory instead of the processor's caches.
CACHED_VALUES = 2**20
# What NumPy and the kernels raise when shapes, axes or numbers of a file do not fit together.
KERNEL_ERRORS = (
    ArithmeticError,
    AttributeError,
    DataError,
    LookupError,
    MemoryError,
    ModelFileError,
    TypeError,
    ValueError,
)


class IntegerRunner(Runner):
    """A model on our own engine, one operator after the other.

    Attributes:
        nodes: the operators in the order in which they run (`graph.Node`).
        constants: the file's constant values, by the number of their tensor.

    Args:
        model: a .tflite file's bytes, or its path.
        own_kernels: functions in place of the engine's kernels, by the operator's name.

    Raises:
        ModelFileError: damaged, or with an operator, a type or a shape that the engine does not take.
    """

    engine = "integer"

    def __init__(self, model: bytes | str | PathLike, own_kernels: Mapping[str, Kernel]):
        unknown = set(own_kernels) - set(OPERATORS)
        if unknown:
            raise TinylabError(f"no operator {', '.join(sorted(unknown))}; there are {', '.join(OPERATORS)}.")
        graph = read(model)
        super().__init__(graph.file)
        self.constants = graph.constants
        self._kernels = {name: entry.kernel for name, entry in OPERATORS.items()} | dict(own_kernels)
        self._arguments: dict[int, tuple] = {}  # read from the file once, by the operator's number
        self.nodes = tuple(self._checked_node(node) for node in graph.nodes)
        self._check_order()
        self._last_read = _last_read(self.nodes, keep={*self.file.outputs, *self.constants})
        shapes = {index: values.shape for index, values in self._first_run().items()}
        largest = max(1, *(math.prod(shape) for shape in shapes.values()))
        self._chunk = max(1, CACHED_VALUES * self.inputs[0].shape[0] // largest)
        for_many = None if self._free_batch else for_any_batch(self.nodes, self.constants, shapes)
        if for_many:
            self.nodes, self._free_batch = for_many, True
            self._arguments.clear()

    def _first_run(self) -> dict[int, np.ndarray]:
        """Before any data come: a run on zeros, which meets every shape that does not fit."""
        free, self._free_batch = self._free_batch, False
        with limited():
            zeros = [np.zeros(_possible(spec), spec.dtype) for spec in self.inputs]
            values = self._invoke_traced(zeros)
        self._free_batch = free
        return values

    def _checked_node(self, node: Node) -> Node:
        try:
            return check(node)
        except ModelFileError as error:
            raise ModelFileError(f"{self.file.name}: {error}") from error

    def _check_order(self) -> None:
        """Refuse an operator that reads what nothing has computed."""
        known = {*self.constants, *self.file.inputs}
        for node in self.nodes:
            for tensor in node.inputs:
                if tensor is not None and tensor.index not in known:
                    raise ModelFileError(
                        f"{self.file.name}: {node} reads {tensor.name}, which nothing computes."
                    )
            known |= {tensor.index for tensor in node.outputs}
        for index in set(self.file.outputs) - known:
            raise ModelFileError(f"{self.file.name}: nothing computes {self.file.tensors[index].name}.")

    def _invoke(self, part: list[np.ndarray]) -> list[np.ndarray]:
        values = self._computed(part, forget=True)
        return [values[i] for i in self.file.outputs]

    def _invoke_traced(self, part: list[np.ndarray]) -> dict[int, np.ndarray]:
        values = self._computed(part, forget=False)
        return {i: values[i] for i in dict.fromkeys(self.file.computed)}

    def _computed(self, part: list[np.ndarray], forget: bool) -> dict[int, np.ndarray]:
        """Run the operators in the file's order: tensors by their numbers.

        Args:
            forget: whether to drop each tensor after the last operator that reads it.
        """
        values = {**self.constants, **dict(zip(self.file.inputs, part, strict=True))}
        with BLAS.limit(limits=1, user_api="blas"):
            self._run_nodes(values, forget)
        return values

    def _run_nodes(self, values: dict[int, np.ndarray], forget: bool) -> None:
        for node in self.nodes:
            inputs = [None if t is None else values[t.index] for t in node.inputs]
            if node.name in VARIADIC:
                inputs = [inputs]
            values[node.outputs[0].index] = self._output(node, inputs)
            if forget:
                for index in self._last_read.get(node.number, ()):
                    del values[index]

    def _output(self, node: Node, inputs: list[np.ndarray | None]) -> np.ndarray:
        tensor = node.outputs[0]
        try:
            if node.number not in self._arguments:
                self._arguments[node.number] = OPERATORS[node.name].arguments(node)
            output = self._kernels[node.name](*inputs, *self._arguments[node.number])
            checked(np.shape(output))
        except KERNEL_ERRORS as error:
            if self._free_batch:
                raise FixedInside from error
            shapes = ", ".join("none" if t is None else str(t.shape) for t in node.inputs)
            raise ModelFileError(
                f"{self.file.name}: {node} (output {tensor.name}) cannot run on inputs of {shapes}: {error}"
            ) from error
        if not isinstance(output, np.ndarray) or output.dtype != tensor.dtype:
            given = output.dtype if isinstance(output, np.ndarray) else type(output).__name__
            raise ModelFileError(f"{self.file.name}: the kernel of {node} gave {given}, not {tensor.dtype}.")
        return output


def _possible(spec: TensorSpec) -> tuple[int, ...]:
    """An input's shape, if a machine can hold it."""
    if 0 in spec.shape:
        raise ModelFileError(f"input {spec.name} {spec.shape}: no values to run on.")
    try:
        return checked(spec.shape)
    except DataError as error:
        raise ModelFileError(f"input {spec.name}: {error}") from error


def _last_read(nodes: tuple[Node, ...], keep: set[int]) -> dict[int, list[int]]:
    """Which tensors nobody reads any more after each operator, by the operator's number."""
    last = {i: node.number for node in nodes for i in _tensors_of(node) if i not in keep}
    by_node: dict[int, list[int]] = {}
    for index, number in last.items():
        by_node.setdefault(number, []).append(index)
    return by_node


def _tensors_of(node: Node) -> list[int]:
    return [tensor.index for tensor in (*node.inputs, *node.outputs) if tensor is not None]
