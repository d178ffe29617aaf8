"""Weights by name: what the published files are called, where they are, and whose they are.

A name stands in `model.weights` for a file in the cache folder. `coco/` are detectors, `imagenet/`
are classifiers, whose layers become the backbone. docs/weights.md lists the names, by a test.
"""

import difflib
import os
import re
from pathlib import Path
from typing import NamedTuple

from configs.model_schema import PUBLISHED_WEIGHTS
from ground.cache import CACHE_VARIABLE, cache_folder
from ground.errors import ModelError

_NAME = re.compile(r"(coco|imagenet)/[^/]*")
_TORCHVISION = "https://download.pytorch.org/models/"
_DETECTRON2 = "https://dl.fbaipublicfiles.com/detectron2/"
_KERAS = "https://storage.googleapis.com/"
_ON_IMAGENET = "trained on ImageNet, whose terms bind too"
_ON_COCO = "trained on COCO 2017, whose terms bind too"
_BSD = "BSD-3-Clause (torchvision)"
_APACHE_DETECTRON2 = "Apache-2.0 (Detectron2's code), CC BY-SA 3.0 (its model zoo)"
_APACHE_KERAS = "Apache-2.0 (keras.applications)"
_APACHE_TENSORFLOW = "Apache-2.0 (tensorflow/tpu)"


class NamedWeights(NamedTuple):
    """A published file.

    Attributes:
        file: its name in the cache folder.
        url: where it is published; "" where nobody publishes it in a form that is read here.
        checksum: `sha256:` or `md5:` and hexadecimal digits, perhaps the first ones alone; ""
            where none is known.
        licence: whose terms it comes with.
        kind: whose names it has, one of `KINDS` (model/weights/files.py).
        backbone: name of the backbone that it is of, of `model.backbone.name`.
        preset: `model.preset` that sets its conventions; None for other families than ResNets.
        has_masks: whether it has a mask head.
        has_boxes: whether it is a detector.
        layers: settings below `model.` that its layers need beside the preset
            (`heads.heavier_layers` reads them from a file).
    """

    file: str
    url: str
    checksum: str
    licence: str
    kind: str
    backbone: str
    preset: str | None = None
    has_masks: bool = False
    has_boxes: bool = False
    layers: tuple[tuple[str, str | int], ...] = ()


# torchvision's versions 2, after 2111.11429.
_VERSION_2 = (
    ("rpn.convolutions", 2),
    ("box_head.convolutions", 4),
    ("box_head.fully_connected", 1),
    ("fpn.norm", "batch_norm"),
    ("box_head.norm", "batch_norm"),
)


def _torchvision(backbone: str, digits: str) -> NamedWeights:
    file = f"{backbone}-{digits}.pth"
    return NamedWeights(
        file,
        _TORCHVISION + file,
        f"sha256:{digits}",
        f"{_BSD}, {_ON_IMAGENET}",
        "torchvision",
        backbone,
        "torchvision",
    )


def _torchvision_detector(
    file: str, has_masks: bool, layers: tuple[tuple[str, str | int], ...] = ()
) -> NamedWeights:
    digits = file.removesuffix(".pth").rpartition("-")[2]
    return NamedWeights(
        file,
        _TORCHVISION + file,
        f"sha256:{digits}",
        f"{_BSD}, {_ON_COCO}",
        "torchvision",
        "resnet50",
        "torchvision",
        has_masks,
        True,
        layers,
    )


def _detectron2(place: str, has_masks: bool = False) -> NamedWeights:
    has_boxes = place.startswith("COCO-")
    return NamedWeights(
        place.rpartition("/")[2],
        _DETECTRON2 + place,
        "",
        f"{_APACHE_DETECTRON2}, {_ON_COCO if has_boxes else _ON_IMAGENET}",
        "detectron2",
        "resnet50",
        "detectron2",
        has_masks,
        has_boxes,
    )


def _keras(path: str, backbone: str, checksum: str) -> NamedWeights:
    file = path.rpartition("/")[2]
    return NamedWeights(
        file, _KERAS + path, checksum, f"{_APACHE_KERAS}, {_ON_IMAGENET}", "keras", backbone
    )


# The digits in torchvision's file names are the first of the file's SHA-256; Keras's MD5s are those
# of its own source. Sizes are not here: the server says them.
NAMED: dict[str, NamedWeights] = {
    "coco/torchvision-mask-rcnn-r50-fpn": _torchvision_detector(
        "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth", has_masks=True
    ),
    "coco/torchvision-faster-rcnn-r50-fpn": _torchvision_detector(
        "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth", has_masks=False
    ),
    "coco/torchvision-mask-rcnn-r50-fpn-v2": _torchvision_detector(
        "maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth",
        has_masks=True,
        layers=(*_VERSION_2, ("mask_head.norm", "batch_norm")),
    ),
    "coco/torchvision-faster-rcnn-r50-fpn-v2": _torchvision_detector(
        "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth", has_masks=False, layers=_VERSION_2
    ),
    "coco/detectron2-mask-rcnn-r50-fpn-3x": _detectron2(
        "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x/137849600/model_final_f10217.pkl",
        has_masks=True,
    ),
    "coco/detectron2-faster-rcnn-r50-fpn-3x": _detectron2(
        "COCO-Detection/faster_rcnn_R_50_FPN_3x/137849458/model_final_280758.pkl"
    ),
    "imagenet/torchvision-resnet18": _torchvision("resnet18", "f37072fd"),
    "imagenet/torchvision-resnet34": _torchvision("resnet34", "b627a593"),
    "imagenet/torchvision-resnet50": _torchvision("resnet50", "0676ba61"),
    "imagenet/torchvision-resnet101": _torchvision("resnet101", "63fe2227"),
    "imagenet/torchvision-resnet152": _torchvision("resnet152", "394f9c45"),
    "imagenet/detectron2-msra-r50": _detectron2("ImageNetPretrained/MSRA/R-50.pkl"),
    "imagenet/tensorpack-r50-align-padding": NamedWeights(
        "ImageNet-R50-AlignPadding.npz",
        "http://models.tensorpack.com/FasterRCNN/ImageNet-R50-AlignPadding.npz",
        "",
        f"Apache-2.0 (tensorpack), {_ON_IMAGENET}",
        "tensorpack",
        "resnet50",
        "tensorpack",
    ),
    "imagenet/keras-resnet50": _keras(
        "tensorflow/keras-applications/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "keras_resnet50",
        "md5:4d473c1dd8becc155b73f8504c6f6626",
    ),
    "imagenet/keras-efficientnet-b0": _keras(
        "keras-applications/efficientnetb0_notop.h5",
        "efficientnet_b0",
        "md5:50bc09e76180e00e4465e1a485ddc09d",
    ),
    "imagenet/efficientnet-lite0": NamedWeights(
        "efficientnet_lite0_imagenet.npz",
        "",
        "sha256:e034bdfe4ea576c45b08d0a2d217bfcbe69ce95eb033eff3adab2a43292027e9",
        f"{_APACHE_TENSORFLOW}, {_ON_IMAGENET}",
        "efficientnet_lite",
        "efficientnet_lite0",
    ),
    "imagenet/mobilenet-v2-int8": NamedWeights(
        "mobilenet_v2_1.0_imagenet_int8.npz",
        "",
        "sha256:f7ca488b8f38d25565ab9b005d7f7d5b9fc5dd1b59fb80d8ba47a17d825dd445",
        f"{_APACHE_TENSORFLOW}, {_ON_IMAGENET}",
        "mobilenet_v2",
        "mobilenet_v2",
    ),
}


def is_name(weights: str | None) -> bool:
    """Returns whether `model.weights` is a name of this list, or meant as one, and no file."""
    return bool(weights and _NAME.fullmatch(weights) and not os.path.isfile(weights))


def is_file_name(weights: str | None) -> bool:
    """Returns whether `model.weights` is the path of a file: no name, and not `imagenet`."""
    return weights is not None and weights != PUBLISHED_WEIGHTS and not is_name(weights)


def named(weights: str) -> NamedWeights:
    """Returns what a name stands for.

    Raises:
        ModelError: there is no such name; the nearest are named.
    """
    if weights in NAMED:
        return NAMED[weights]
    near = difflib.get_close_matches(weights[:80], NAMED, 3, 0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(NAMED)}"
    raise ModelError(f"weights: there are none named {weights[:80]!r}: {hint}")


def cached_path(entry: NamedWeights) -> Path:
    """Returns where the file of a name lies, or would."""
    return cache_folder() / "weights" / entry.file


def weights_path(weights: str | os.PathLike[str]) -> Path:
    """Returns the file that `model.weights` means, whether it is there or not.

    Raises:
        ModelError: it is a name that there is not.
    """
    text = os.fspath(weights)
    return cached_path(named(text)) if is_name(text) else Path(text)


def where_to_put(name: str) -> str:
    """Returns what to do where the file of a name is not there and cannot be fetched."""
    entry = named(name)
    source = f"fetch {entry.url} elsewhere" if entry.url else f"make {entry.file} (docs/weights.md)"
    return f"{source} and put it as {cached_path(entry)} ({CACHE_VARIABLE} names another folder)"
