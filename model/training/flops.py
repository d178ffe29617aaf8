"""What a training step costs, counted in the graph that TensorFlow traces from the detector.

The graph is traced, never run, so nothing of the size of a picture is allocated and any backbone
or head is counted, with frozen stages and whatever the gradient leaves out as they are. Counted are
the multiply-adds of convolutions and matrix products; the rest (norms, activations, NMS) is a few
per cent of them. A multiply-add is two floating-point operations.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from model.batch import Batch, specs_of
from model.contract import Detector, Variable

# Tensors that share the memory of what they are made from.
_VIEWS = {"Identity", "Reshape", "ExpandDims", "Squeeze", "StopGradient", "IdentityN"}
# Tensors that are there with or without a batch.
_NO_ACTIVATIONS = {"ReadVariableOp", "Const", "Placeholder"}


@dataclass(frozen=True)
class StepCost:
    """The cost of one worker's step on one batch.

    Attributes:
        forward: multiply-adds of the losses.
        backward: multiply-adds of their gradient.
        activation_bytes: tensors of the forward pass that the backward pass reads; XLA may keep
            fewer by computing some anew.
    """

    forward: int
    backward: int
    activation_bytes: int

    @property
    def flops(self) -> int:
        """Floating-point operations of the step."""
        return 2 * (self.forward + self.backward)


def step_cost(
    detector: Detector, batch: Batch, trained: Iterable[Variable] | None = None
) -> StepCost:
    """Returns what a training step on one batch costs.

    Args:
        detector: that is trained.
        batch: its shapes and dtypes.
        trained: variables that gradients change; None is all that the detector can train.
    """
    trained = detector.trainable_variables if trained is None else trained
    weights = [getattr(weight, "value", weight) for weight in trained]
    forward_ops: set[str] = set()

    def losses_and_gradients(batch: Batch) -> list[tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            # Outside training: synchronised batch norm would ask for other workers.
            terms = detector.loss_terms(batch, 0, tf.constant(0, tf.int64), training=False)
            loss = tf.add_n([tf.cast(term.sum, tf.float32) for term in terms.values()])
        forward_ops.update(op.name for op in loss.graph.get_operations())
        gradients = tape.gradient(loss, weights)
        return [loss, *(gradient for gradient in gradients if gradient is not None)]

    traced = tf.function(losses_and_gradients, autograph=False).get_concrete_function(batch)
    live = _needed(traced.graph.outputs)
    forward = [op for op in live if op.name in forward_ops]
    backward = [op for op in live if op.name not in forward_ops]
    return StepCost(
        forward=sum(map(multiply_adds, forward)),
        backward=sum(map(multiply_adds, backward)),
        activation_bytes=_bytes_handed_over(backward, forward_ops),
    )


class FlopCounter:
    """Counts the operations of a step from its batch, once a bucket.

    Args:
        detector: that is trained.
        trained: variables that gradients change.
    """

    def __init__(self, detector: Detector, trained: Sequence[Variable]) -> None:
        self._detector = detector
        self._trained = trained
        self._by_shape: dict[tuple[int, ...], int] = {}

    def __call__(self, batch: Batch) -> int:
        """Returns the floating-point operations of a step on `batch`; the first takes seconds."""
        shape = tuple(batch.images.shape)
        if shape not in self._by_shape:
            cost = step_cost(self._detector, specs_of(batch), self._trained)
            self._by_shape[shape] = cost.flops
        return self._by_shape[shape]


def multiply_adds(op: tf.Operation) -> int:
    """Returns the multiply-adds of one operation of a graph; 0 for those that are not counted.

    Raises:
        ValueError: it counts, but a shape is not known.
    """
    count = _COUNTS.get(op.type)
    return 0 if count is None else count(op)


def _needed(outputs: Iterable[tf.Tensor]) -> list[tf.Operation]:
    """Returns the operations that the outputs depend on; a traced gradient has others too."""
    todo, seen = [tensor.op for tensor in outputs], {}
    while todo:
        op = todo.pop()
        if op.name not in seen:
            seen[op.name] = op
            todo += [tensor.op for tensor in op.inputs]
            todo += op.control_inputs
    return list(seen.values())


def _bytes_handed_over(backward: list[tf.Operation], forward_ops: set[str]) -> int:
    """Returns the bytes of forward tensors that backward operations read, each counted once."""
    kept: dict[str, int] = {}
    for op in backward:
        for tensor in op.inputs:
            while tensor.op.type in _VIEWS and len(tensor.op.inputs):
                tensor = tensor.op.inputs[tensor.value_index]
            is_activation = tensor.op.name in forward_ops and tensor.op.type not in _NO_ACTIVATIONS
            if is_activation and tensor.shape.is_fully_defined():
                kept[tensor.name] = tensor.shape.num_elements() * tensor.dtype.size
    return sum(kept.values())


def _shape(tensor: tf.Tensor) -> list[int]:
    if not tensor.shape.is_fully_defined():
        raise ValueError(f"{tensor.op.type} {tensor.name}: the shape {tensor.shape} is not static")
    return [int(side) for side in tensor.shape]


def _size(shape: list[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _convolution(op: tf.Operation) -> int:
    return _size(_shape(op.outputs[0])) * _size(_shape(op.inputs[1])[:3])


def _convolution_to_input(op: tf.Operation) -> int:
    return _size(_shape(op.inputs[2])) * _size(_shape(op.inputs[1])[:3])


def _convolution_to_filter(op: tf.Operation) -> int:
    return _size(_shape(op.inputs[2])) * _size(_shape(op.outputs[0])[:3])


def _depthwise(op: tf.Operation) -> int:
    return _size(_shape(op.outputs[0])) * _size(_shape(op.inputs[1])[:2])


def _depthwise_to_input(op: tf.Operation) -> int:
    return _size(_shape(op.inputs[2])) * _size(_shape(op.inputs[1])[:2])


def _depthwise_to_filter(op: tf.Operation) -> int:
    return _size(_shape(op.inputs[2])) * _size(_shape(op.outputs[0])[:2])


def _einsum(op: tf.Operation) -> int:
    """Returns the product of all sides that the equation names, each once."""
    terms = op.get_attr("equation").decode().split("->")[0].split(",")
    sides: dict[str, int] = {}
    for term, tensor in zip(terms, op.inputs, strict=True):
        sides |= dict(zip(term, _shape(tensor), strict=True))
    return _size(list(sides.values()))


def _product(transposed: str) -> Callable[[tf.Operation], int]:
    def count(op: tf.Operation) -> int:
        inner = _shape(op.inputs[0])[-2 if op.get_attr(transposed) else -1]
        return _size(_shape(op.outputs[0])) * inner

    return count


_COUNTS: dict[str, Callable[[tf.Operation], int]] = {
    "Conv2D": _convolution,
    "Conv2DBackpropInput": _convolution_to_input,
    "Conv2DBackpropFilter": _convolution_to_filter,
    "DepthwiseConv2dNative": _depthwise,
    "DepthwiseConv2dNativeBackpropInput": _depthwise_to_input,
    "DepthwiseConv2dNativeBackpropFilter": _depthwise_to_filter,
    "Einsum": _einsum,
    "MatMul": _product("transpose_a"),
    "BatchMatMulV2": _product("adj_x"),
}
