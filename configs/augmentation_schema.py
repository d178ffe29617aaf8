"""How training changes pictures and their objects at random: the settings of the section `input`.

Every one is off by default but the flip, as in the papers' configs.
"""

from pydantic import Field, model_validator

from configs.section import Fraction, Section


class ColorJitterConfig(Section):
    """Random colours; the default strengths are those of SSD (1512.02325) in torchvision."""

    probability: Fraction = Field(0.5, description="Chance that a picture's colours change.")
    brightness: Fraction = Field(
        0.125, description="All levels times a factor in [1 - this, 1 + this], uniform."
    )
    contrast: Fraction = Field(
        0.5, description="Distance from the picture's mean grey times such a factor."
    )
    saturation: Fraction = Field(
        0.5, description="Distance of each pixel from its own grey times such a factor."
    )
    hue: float = Field(
        0.05,
        ge=0,
        le=0.5,
        description="The colour circle turns by up to so many turns, each way.",
    )

    @model_validator(mode="after")
    def _something_changes(self) -> "ColorJitterConfig":
        strengths = (self.brightness, self.contrast, self.saturation, self.hue)
        if not self.probability or not any(strengths):
            raise ValueError(
                "input.color_jitter changes nothing: leave the section out, or give it a "
                "probability and a strength above 0"
            )
        return self


class CopyPasteConfig(Section):
    """Copy-paste (2012.07177): objects of another picture, cut out by their masks.

    The other picture is resized, flipped, cut and recoloured as it is itself in the same epoch.
    """

    probability: float = Field(
        1.0, gt=0, le=1, description="Chance that objects are pasted into a picture."
    )
    object_probability: float = Field(
        0.5, gt=0, le=1, description="Chance of each object of the other picture."
    )


class MosaicConfig(Section):
    """Mosaic (2004.10934): four pictures in the quarters of one input."""

    probability: float = Field(
        0.5, gt=0, le=1, description="Chance that a picture is shown with three others."
    )


class Augmentations(Section):
    """What training changes at random in a picture beside its size."""

    flip_probability: Fraction = Field(0.5, description="Chance of a horizontal flip.")
    rotation_degrees: float = Field(
        0.0,
        ge=0,
        le=45,
        description="Training turns pictures about their middle by up to so many degrees, each "
        "way; corners become black. Boxes follow the masks; without a mask the box grows to hold "
        "the turned one.",
    )
    color_jitter: ColorJitterConfig | None = None
    copy_paste: CopyPasteConfig | None = None
    mosaic: MosaicConfig | None = None
