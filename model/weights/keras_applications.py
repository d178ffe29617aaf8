"""Weights of keras.applications' networks, by the paths of our backbones made of them.

Files of Keras 3 say the class of a layer and its number among those of the class. Older files say
its name; published ones are from times when some layers were called otherwise, so that Keras itself
goes by the order. Here names count where they fit, and the order where they do not, if the file has
as many layers with weights as the network, or one or two more: the classifier's.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.model_schema import PUBLISHED_WEIGHTS
from ground.errors import ModelError
from model.weights.tensors import Tensor

if TYPE_CHECKING:  # imports TensorFlow, which --help need not wait for
    from model.layers.keras_backbones import KerasBackbone, LayerWeights

PUBLISHED = PUBLISHED_WEIGHTS  # what stands for a path
_MOST_CLASSIFIER_LAYERS = 2


def fetch_published(backbone: Any, name: str) -> dict[str, np.ndarray]:
    """Returns keras.applications' own weights by our paths, from its cache or the network.

    Args:
        backbone: one of keras.applications.
        name: in the config.

    Raises:
        ModelError: the backbone is another one, or the file cannot be fetched.
    """
    try:
        return _of_applications(backbone, name).imagenet_weights()
    except ModelError:
        raise
    except Exception as error:  # get_file raises a bare Exception
        url = re.search(r"https?://\S+[^\s:.,]", str(error))
        file = url[0] if url else f"the weights of {name} ({error})"
        cache = os.path.join(os.environ.get("KERAS_HOME", "~/.keras"), "models")
        raise ModelError(
            f"weights: cannot fetch {file}; fetch it elsewhere, and set model.weights to that file "
            f"or put it into {cache}"
        ) from None


def by_our_paths(stored: Mapping[str, np.ndarray], backbone: Any, name: str) -> dict[str, Tensor]:
    """Returns by our paths what a file, or `fetch_published`, holds of a backbone.

    Args:
        stored: arrays by name, in the file's order.
        backbone: one of keras.applications.
        name: in the config.

    Raises:
        ModelError: the backbone is another one, or a layer has another number of weights.
    """
    layers = _of_applications(backbone, name).layer_weights
    paths = {path for layer in layers for path in layer.paths}
    if stored.keys() <= paths:
        return {path: Tensor(path, array) for path, array in stored.items()}
    if any(re.search(r"/vars/\d+$", key) for key in stored):
        found = _by_place(stored, layers)
    else:
        found = _by_layer_name(list(stored), layers)
    tensors = {}
    for layer, names in found:
        if len(names) != len(layer.paths):
            raise ModelError(
                f"weights: layer {layer.name} has {len(layer.paths)} weights, the file has "
                f"{len(names)} for it ({', '.join(names)}); is it of another network?"
            )
        for path, stored_name in zip(layer.paths, names, strict=True):
            tensors[path] = Tensor(stored_name, stored[stored_name])
    return tensors


def _of_applications(backbone: Any, name: str) -> "KerasBackbone":
    """Returns the backbone called `name`, unless it is one of our own."""
    if not hasattr(backbone, "layer_weights"):
        raise ModelError(
            f"weights: Keras's fit the networks of keras.applications; {name} is our own, see "
            "docs/weights.md for what fits it"
        )
    return backbone


def _by_place(
    stored: Iterable[str], layers: list["LayerWeights"]
) -> list[tuple["LayerWeights", list[str]]]:
    """Returns the names of each layer's weights in a file of Keras 3.

    The network may be the file's model or a layer of it, so the prefix is that which most have.
    """
    by_group: dict[str, list[str]] = {}
    for name in stored:
        group, is_variable, number = name.rpartition("/vars/")
        if is_variable and number.isdecimal():
            by_group.setdefault(group, []).append(name)
    prefixes = Counter(
        group.removesuffix(layer.place)
        for layer in layers
        for group in by_group
        if f"/{group}".endswith(f"/{layer.place}")
    )
    if not prefixes:
        return []
    [(prefix, _)] = prefixes.most_common(1)
    return [
        (layer, sorted(by_group[group], key=lambda name: int(name.rpartition("/")[2])))
        for layer in layers
        if (group := f"{prefix}{layer.place}") in by_group
    ]


def _by_layer_name(
    stored: list[str], layers: list["LayerWeights"]
) -> list[tuple["LayerWeights", list[str]]]:
    """Returns the names of each layer's weights in an older file."""
    by_layer: dict[str, list[str]] = {}
    for name in stored:
        by_layer.setdefault(_layer_of(name, {layer.name for layer in layers}), []).append(name)
    groups = _renumbered(by_layer, layers)
    named = [(layer, groups[layer.name]) for layer in layers if layer.name in groups]
    if len(named) < len(layers) and 0 <= len(groups) - len(layers) <= _MOST_CLASSIFIER_LAYERS:
        return list(zip(layers, by_layer.values(), strict=False))
    return named


def _layer_of(name: str, ours: set[str]) -> str:
    """Returns the layer of a weight: the first part or, of a layer inside of it, the last ones.

    >>> _layer_of("stem/stem/stem_conv/kernel:0", {"stem_conv"})
    'stem_conv'
    """
    group, *inner, _ = name.split("/")
    endings = ["_".join(inner[start:]) for start in range(len(inner))]
    return next((layer for layer in (group, *endings) if layer in ours), group)


def _renumbered(
    by_layer: Mapping[str, list[str]], layers: list["LayerWeights"]
) -> dict[str, list[str]]:
    """Returns the groups with layers that Keras numbered through the process counted from 0."""
    numbered = {
        kind for layer in layers if re.fullmatch(rf"{(kind := _kind(layer.place))}_\d+", layer.name)
    }
    counts: Counter[str] = Counter()
    groups = {}
    for name, weights in by_layer.items():
        kind = re.sub(r"_\d+$", "", name)
        if kind in numbered:
            name = f"{kind}_{counts[kind]}"
            counts[kind] += 1
        groups[name] = weights
    return groups


def _kind(place: str) -> str:
    """Returns the class in a place: "conv2d" of "sequential/layers/conv2d_3"."""
    return re.sub(r"_\d+$", "", place.rpartition("/")[2])
