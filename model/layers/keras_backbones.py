"""Networks of keras.applications as backbones.

Their taps are found by stride: C2 is the last map of a quarter of the picture's side that all later
layers depend on, and so on; a map inside a branch would not carry what its shortcut carries. Their
batch norms are frozen, as usual in detection, so they are of use with weights that were trained
before: `model.weights: imagenet`, or a file (docs/weights.md).

Keras numbers some layers and variables through the process, so a weight's path is made anew here,
from the place in the network.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from configs.model_schema import BackboneConfig
from ground.errors import ConfigError
from model.layers.initializers import derive_seed
from model.layers.layer import Layer
from model.layers.resnet import MEAN, STD, normalize_pixels

_PROBE_SIDE_PX = 256  # of the picture by which strides are measured
_STAGES = ("c1", "c2", "c3", "c4", "c5")  # stride 2 to 32


class PixelStatistics(NamedTuple):
    """What a family was trained on: mean and deviation of RGB values in 0-1, order of channels."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    is_bgr: bool = False


# keras.applications.imagenet_utils calls these torch, tf and caffe.
IMAGENET = PixelStatistics(MEAN, STD)
MINUS_ONE_TO_ONE = PixelStatistics((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CAFFE = PixelStatistics((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255,) * 3, is_bgr=True)
# EfficientNetV2 S to L: x / 128 - 1.
HALF_OF_256 = PixelStatistics((128 / 255,) * 3, (128 / 255,) * 3)


class LayerWeights(NamedTuple):
    """The weights of one layer.

    Attributes:
        name: name of the layer.
        place: in a file of Keras 3, which counts the layers of a class: "conv2d_3".
        paths: paths of its weights, in Keras's order.
    """

    name: str
    place: str
    paths: list[str]


class KerasBackbone(Layer):
    """A network of keras.applications, from the first layer with weights to C5.

    Attributes:
        channels: by stage, of what comes out.
        layer_weights: which weights each layer has, in the network's order.

    Args:
        application: makes the network, given include_top, weights and input_shape.
        pixels: what the family was trained on; its own scaling layers are cut off.
        config: `frozen_stages`; the norm must be frozen_batch_norm.
        seed: seed of the initial weights.

    Raises:
        ConfigError: a network without one of the stages C2-C5.
    """

    def __init__(
        self,
        application: Callable[..., keras.Model],
        pixels: PixelStatistics,
        config: BackboneConfig,
        seed: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pixels = pixels
        self.frozen_stages = config.frozen_stages
        self._application = application
        whole = self._make_network()
        taps = find_taps(whole, config.name)
        entry = _last_scaling_layer(whole)
        used = whole.operations[entry + 1 : taps["c5"] + 1]
        self.layer_weights = _name_weights(whole, used, self.name)
        _initialize(used, seed)
        _freeze(whole, taps[f"c{self.frozen_stages}"] if self.frozen_stages else -1)
        outputs = {stage: whole.operations[taps[stage]].output for stage in _STAGES[1:]}
        self.channels = {stage: output.shape[-1] for stage, output in outputs.items()}
        self.network = keras.Model(whole.operations[entry].output, outputs, name="network")

    def _make_network(self) -> keras.Model:
        """Returns the network under this layer's policy."""
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.dtype_policy)
        try:
            return self._application(include_top=False, weights=None, input_shape=(None, None, 3))
        finally:
            keras.config.set_dtype_policy(policy)

    def build(self, input_shape: Any) -> None:
        """Does nothing: keras.applications makes weights at once."""

    def call(
        self,
        images: tf.Tensor,
        image_sizes: tf.Tensor,
        valid: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        """Returns C2-C5 [N, H / stride, W / stride, C]; the arguments are `ResNet`'s.

        `valid` and `training` change nothing here: the norms of the family are frozen.
        """
        mean, std, is_bgr = self.pixels
        pixels = normalize_pixels(images, image_sizes, mean, std)
        pixels = pixels[..., ::-1] if is_bgr else pixels
        stages = self.network(tf.cast(pixels, self.compute_dtype), training=False)
        frozen = _STAGES[: self.frozen_stages]
        return {
            stage: tf.stop_gradient(stages[stage]) if stage in frozen else stages[stage]
            for stage in self.channels
        }

    @property
    def variables(self) -> list[keras.Variable]:
        """The weights, without the states of dropout layers, which do nothing here."""
        return self.weights

    def imagenet_weights(self) -> dict[str, np.ndarray]:
        """Returns keras.applications' own ImageNet weights by our paths; fetches them if need be.

        Raises:
            Exception: what keras.utils.get_file raises where there is no network.
        """
        # Some families warn of other sides; the weights do not depend on them.
        whole = self._application(include_top=False, weights="imagenet", input_shape=(224, 224, 3))
        leaves = _leaves(whole.operations[_last_scaling_layer(whole) + 1 :])
        return {
            path: variable.numpy()
            for ours, theirs in zip(self.layer_weights, leaves, strict=False)
            for path, variable in zip(ours.paths, theirs.weights, strict=True)
        }


def find_taps(network: keras.Model, name: str) -> dict[str, int]:
    """Returns numbers of operations {"c1": ..., "c5": ...}: the last of a stride on the main path.

    One is on the main path if no later one reads what an earlier one gives. Where a patch of 4x4
    pixels is the first convolution, and nothing has stride 2, c1 is that convolution.

    Args:
        network: its operations come after those that they read.
        name: name of the backbone, for the error.

    Raises:
        ConfigError: there is no map of the stride of one of C2-C5.
    """
    numbers = {id(operation): number for number, operation in enumerate(network.operations)}
    last_reader = list(range(len(numbers)))
    for number, operation in enumerate(network.operations):
        for read in _inputs(operation):
            last_reader[numbers[id(read)]] = number
    taps: dict[str, int] = {}
    furthest = 0  # reader of what there is so far
    for number, level in enumerate(_levels(network, name)):
        if furthest <= number and level:
            if level == 2:
                taps.setdefault("c1", number)
            taps[f"c{level}"] = number
        furthest = max(furthest, last_reader[number])
    missing = [stage for stage in _STAGES if stage not in taps]
    if missing:
        raise ConfigError(
            f"model.backbone.name: {name} has no map of stride {2 ** int(missing[0][1])} for "
            f"{', '.join(stage.upper() for stage in missing)}, which the feature pyramid needs"
        )
    return taps


def _levels(network: keras.Model, name: str) -> list[int]:
    """Returns log2 of the stride of what each operation gives, 0 where it is not 2 to 32."""
    side = _PROBE_SIDE_PX
    every = keras.Model(network.input, [operation.output for operation in network.operations])
    try:
        shapes = every.compute_output_shape((1, side, side, 3))
    except ValueError as error:
        raise ConfigError(
            f"model.backbone.name: {name} takes no picture of {side}x{side} pixels, so that it has "
            f"no C2-C5 ({str(error).splitlines()[0]})"
        ) from None
    levels = {(side >> level, side >> level): level for level in range(1, 6)}
    return [levels.get(shape[1:3], 0) if len(shape) == 4 else 0 for shape in shapes]


def _inputs(operation: keras.Operation) -> list[keras.Operation]:
    """Returns the operations whose results this one reads."""
    # Keras tells of its graph by these attributes only, which its plot_model reads too.
    return [node.operation for own in operation._inbound_nodes for node in own.parent_nodes]


def _last_scaling_layer(network: keras.Model) -> int:
    """Returns the number of the operation before the first that does more than scale pixels."""
    scaling = (keras.layers.InputLayer, keras.layers.Rescaling, keras.layers.Normalization)
    operations = enumerate(network.operations)
    return next(number for number, made in operations if not isinstance(made, scaling)) - 1


def _leaves(operations: list[keras.Operation]) -> list[keras.layers.Layer]:
    """Returns the layers that have weights of their own, also those in a sequence."""
    leaves = []
    for operation in operations:
        if isinstance(operation, keras.Sequential):
            leaves += _leaves(operation.layers)
        elif isinstance(operation, keras.layers.Layer) and operation.weights:
            leaves.append(operation)
    return leaves


def _name_weights(
    network: keras.Model, used: list[keras.Operation], prefix: str
) -> list[LayerWeights]:
    """Gives the weights of what is used their paths, and returns these."""
    places = dict(_places(network.layers))
    numbered: Counter[str] = Counter()
    found = []
    for leaf in _leaves(used):
        name, kind = leaf.name, snake_case(type(leaf).__name__)
        if re.fullmatch(rf"{kind}(_\d+)?", name):
            name = f"{kind}_{numbered[kind]}"
            numbered[kind] += 1
        for variable in leaf.weights:
            weight = re.sub(r"^variable_\d+$", "variable", variable.name)
            variable._path = f"{prefix}/{name}/{weight}"  # Keras has no other way to set it
        paths = [variable.path for variable in leaf.weights]
        found.append(LayerWeights(name, places[id(leaf)], paths))
    return found


def _places(layers: list[keras.layers.Layer], prefix: str = "") -> Iterator[tuple[int, str]]:
    """Yields each layer's id and place in a file: Keras 3 counts the layers of a class."""
    counts: Counter[str] = Counter()
    for layer in layers:
        kind = snake_case(type(layer).__name__)
        place = f"{prefix}{kind}_{counts[kind]}" if counts[kind] else f"{prefix}{kind}"
        counts[kind] += 1
        if isinstance(layer, keras.Sequential):
            yield from _places(layer.layers, f"{place}/layers/")
        yield id(layer), place


def snake_case(name: str) -> str:
    """Returns a class's name as Keras writes it in those of layers.

    >>> snake_case("DepthwiseConv2D"), snake_case("ReLU")
    ('depthwise_conv2d', 're_lu')
    """
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _freeze(network: keras.Model, last: int) -> None:
    """Freezes batch norms, and all operations up to that numbered `last`."""
    for number, operation in enumerate(network.operations):
        if isinstance(operation, keras.layers.Layer):
            is_norm = isinstance(operation, keras.layers.BatchNormalization)
            operation.trainable = not is_norm and number > last


def _initialize(operations: list[keras.Operation], seed: int) -> None:
    """Draws what is random again, each weight by a seed of its own path."""
    for leaf in _leaves(operations):
        for variable in leaf.weights:
            kind = variable.name.removesuffix("_kernel")  # depthwise_kernel, pointwise_kernel
            initializer = getattr(leaf, f"{kind}_initializer", None)
            initializer = initializer or getattr(leaf, "depthwise_initializer", None)
            if initializer is not None and "seed" in (settings := initializer.get_config()):
                settings["seed"] = derive_seed(seed, variable.path)
                variable.assign(type(initializer).from_config(settings)(variable.shape))
