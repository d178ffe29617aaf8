"""Layers of a file's detector that a plain one lacks, as settings of ours.

torchvision's versions 2 and Detectron2's new baselines have two convolutions in the RPN, four with
norms in the box head, and norms in pyramid and mask head. What was trained with these is worth
nothing without them, and its shapes do not tell.
"""

import re
from collections.abc import Collection

from configs.model_schema import ModelConfig

_OVER_A_BATCH = ("batch_norm", "sync_batch_norm")  # of the same four weights
_PLAIN_FULLY_CONNECTED = 2
_NORMS = {
    "fpn": r"backbone\.fpn\.inner_blocks\.\d+\.1\.running_mean",
    "box_head": r"roi_heads\.box_head\.\d+\.1\.running_mean",
    "mask_head": r"roi_heads\.mask_head\.\d+\.1\.running_mean",
}


def heavier_layers(names: Collection[str]) -> dict[str, str | int]:
    """Returns {setting below `model.`: value} for what a detector has beyond the plain layers.

    Args:
        names: the tensors', as torchvision calls them today (`torchvision.current_names`).

    >>> heavier_layers(["rpn.head.conv.0.0.weight", "rpn.head.conv.1.0.weight"])
    {'rpn.convolutions': 2}
    """

    def count(pattern: str) -> int:
        return sum(re.fullmatch(pattern, name) is not None for name in names)

    found: dict[str, str | int] = {}
    of_rpn = count(r"rpn\.head\.conv\.\d+\.0\.weight")
    if of_rpn > 1:
        found["rpn.convolutions"] = of_rpn
    of_box_head = count(r"roi_heads\.box_head\.\d+\.0\.weight")
    if of_box_head:
        found["box_head.convolutions"] = of_box_head
    hidden = count(r"roi_heads\.box_head\.fc\d+\.weight")
    if hidden not in (0, _PLAIN_FULLY_CONNECTED):
        found["box_head.fully_connected"] = hidden
    return found | {f"{part}.norm": "batch_norm" for part, norm in _NORMS.items() if count(norm)}


def left_out(names: Collection[str], config: ModelConfig) -> list[str]:
    """Returns in words which of a file's layers the config has not, at most one line.

    Args:
        names: the tensors', in the form that `heavier_layers` takes.
        config: the `model` section.
    """
    missing = []
    for setting, value in heavier_layers(names).items():
        part, _, key = setting.partition(".")
        section = getattr(config, part)
        given = value if section is None else getattr(section, key)
        is_there = given in _OVER_A_BATCH if key == "norm" and section else given == value
        if not is_there:
            missing.append(f"model.{setting}: {value}")
    if not missing:
        return []
    return [
        "the file's layers were trained together with some that the config leaves out, and are "
        f"worth little without them: set {', '.join(missing)}"
    ]
