"""What every section of the config is, and types that many share."""

import os
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0, le=10**9)]
PositiveCount = Annotated[int, Field(ge=1, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what NumPy and Keras take
Text = Annotated[str, Field(min_length=1, max_length=4096)]


def at_home(path: str) -> str:
    """Returns a path with a leading `~/` as a shell has it, which expands none in KEY=~/VALUE."""
    return os.path.expanduser(path) if path.startswith("~/") else path


# A path from the working folder; in the data folder one may really be called "~".
PathText = Annotated[Text, AfterValidator(at_home)]


class Section(BaseModel):
    """A part of the config: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
