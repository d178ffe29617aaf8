"""The settings that CocoExampleGen is handed."""

from configs.parts import Part
from configs.schema import DataConfig


class CocoExampleGenSettings(Part):
    """Where the data lies, how it is read, and how much of it may be refused."""

    data: DataConfig
