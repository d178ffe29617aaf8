"""The names that `model.backbone.name` may have: the one list of the networks below the pyramid.

It is data, without TensorFlow, so that a misspelt name is seen where a config is read. A further
network of keras.applications is one line in `KERAS_NETWORKS` (and one of docs/backbones.md);
model/layers/backbones.py makes the layers.
"""

from typing import Literal, NamedTuple


class KerasNetwork(NamedTuple):
    """A network of keras.applications.

    Attributes:
        function: name of the function there that makes it.
        pixels: what it was trained on, a name of model/layers/keras_backbones.py.
        scales_pixels: whether it scales pixels itself unless it is told not to.
    """

    function: str
    pixels: Literal["IMAGENET", "MINUS_ONE_TO_ONE", "CAFFE", "HALF_OF_256"]
    scales_pixels: bool = False


KERAS_NETWORKS = {
    **{f"keras_resnet{n}": KerasNetwork(f"ResNet{n}", "CAFFE") for n in (50, 101, 152)},
    **{f"resnet{n}_v2": KerasNetwork(f"ResNet{n}V2", "MINUS_ONE_TO_ONE") for n in (50, 101, 152)},
    "mobilenet": KerasNetwork("MobileNet", "MINUS_ONE_TO_ONE"),
    "mobilenet_v2": KerasNetwork("MobileNetV2", "MINUS_ONE_TO_ONE"),
    "mobilenet_v3_small": KerasNetwork("MobileNetV3Small", "MINUS_ONE_TO_ONE", True),
    "mobilenet_v3_large": KerasNetwork("MobileNetV3Large", "MINUS_ONE_TO_ONE", True),
    **{f"efficientnet_b{n}": KerasNetwork(f"EfficientNetB{n}", "IMAGENET") for n in range(8)},
    **{
        f"efficientnet_v2_b{n}": KerasNetwork(f"EfficientNetV2B{n}", "IMAGENET", True)
        for n in range(4)
    },
    **{
        f"efficientnet_v2_{size.lower()}": KerasNetwork(
            f"EfficientNetV2{size}", "HALF_OF_256", True
        )
        for size in ("S", "M", "L")
    },
    **{
        f"convnext_{size.lower()}": KerasNetwork(f"ConvNeXt{size}", "IMAGENET", True)
        for size in ("Tiny", "Small", "Base", "Large", "XLarge")
    },
    **{f"densenet{n}": KerasNetwork(f"DenseNet{n}", "IMAGENET") for n in (121, 169, 201)},
    **{f"vgg{n}": KerasNetwork(f"VGG{n}", "CAFFE") for n in (16, 19)},
}
KERAS_BACKBONES = set(KERAS_NETWORKS)  # a program may add the name of a network of its own

RESNET_DEPTHS = (18, 34, 50, 101, 152)
OWN_BACKBONES = {*(f"resnet{depth}" for depth in RESNET_DEPTHS), "efficientnet_lite0"}
