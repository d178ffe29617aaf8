"""The settings that CocoTransform is handed."""

from configs.augmentation_schema import Augmentations
from configs.model_schema import AnchorConfig
from configs.parts import Part
from configs.schema import InputSizes, LossLimits, Name, TransformConfig
from configs.section import Section, Seed


class _Data(LossLimits):
    """What may be lost, whether splits may be the same, and the seed that chooses what is shown."""

    allow_same_splits: bool = False
    seed: Seed = 0


class _Model(Section):
    """The anchors, whose fit to the objects the report shows."""

    anchors: AnchorConfig = AnchorConfig()


class TrainingSight(InputSizes, Augmentations):
    """The sizes of training, for which pictures are stored, and the augmentation it shows."""


class CocoTransformSettings(Part):
    """How records are prepared, for which sizes, and what the report compares them with."""

    name: Name
    data: _Data
    transform: TransformConfig
    input: TrainingSight
    model: _Model
