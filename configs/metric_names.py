"""COCO's numbers by name: "box/AP" is put together and taken apart here and nowhere else."""

KINDS = ("box", "mask")

# COCO's twelve numbers, in the order in which pycocotools gives them.
METRIC_NAMES = (
    "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
)  # fmt: skip


def metric_of(kind: str, number: str) -> str:
    """Returns the name of a number of a kind.

    >>> metric_of("box", "AP")
    'box/AP'
    """
    return f"{kind}/{number}"


def parts_of(metric: str) -> tuple[str, str]:
    """Returns the kind and the number that a name is of.

    >>> parts_of("mask/AP50")
    ('mask', 'AP50')
    """
    kind, _, number = metric.partition("/")
    return kind, number


def is_known(metric: str) -> bool:
    """Returns whether there is such a number.

    >>> is_known("box/APs"), is_known("boxes/APs")
    (True, False)
    """
    kind, number = parts_of(metric)
    return kind in KINDS and number in METRIC_NAMES
