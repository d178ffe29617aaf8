"""The settings that CocoEvaluator is handed."""

from pydantic import model_validator

from configs.model_schema import MaskHeadConfig
from configs.parts import Part
from configs.schema import EvaluateConfig, Name, check_thresholds
from configs.section import Section


class _Model(Section):
    """Whether there are masks: thresholds on them are refused where there are none."""

    mask_head: MaskHeadConfig | None = None


class CocoEvaluatorSettings(Part):
    """The gate, how it measures, and the name that models are pushed under."""

    name: Name
    evaluate: EvaluateConfig
    model: _Model

    @model_validator(mode="after")
    def _sections_agree(self) -> "CocoEvaluatorSettings":
        check_thresholds(self.evaluate, self.model.mask_head)
        return self
