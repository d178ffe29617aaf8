"""The names of the graph's nodes, in order: known without TFX, for a fast check of arguments."""

from typing import Literal

Target = Literal["kubeflow", "vertex"]  # what a compiled pipeline is for
NODES = (
    "CocoExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ImportSchemaGen",
    "ExampleValidator",
    "CocoTransform",
    "DetectionTrainer",
    "Resolver",
    "CocoEvaluator",
    "ModelPusher",
)
