"""The names of the graph's nodes, in order: known without TFX, for a fast check of arguments."""

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
