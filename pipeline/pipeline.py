"""The graph of components: `create_pipeline` and nothing else."""

import dataclasses
from typing import Literal

import tensorflow_data_validation as tfdv
from tfx.components.example_validator.component import ExampleValidator
from tfx.components.schema_gen.component import SchemaGen
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_artifact_strategy import LatestArtifactStrategy
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.types.channel import Channel
from tfx.types.standard_artifacts import PushedModel

from components.beam_options import beam_arguments
from components.coco_evaluator.component import CocoEvaluator
from components.coco_evaluator.settings import CocoEvaluatorSettings
from components.coco_example_gen.component import CocoExampleGen
from components.coco_example_gen.settings import CocoExampleGenSettings
from components.coco_transform.component import CocoTransform
from components.coco_transform.settings import CocoTransformSettings
from components.detection_trainer.component import DetectionTrainer
from components.detection_trainer.settings import DetectionTrainerSettings
from components.model_pusher.baseline import NewestPushedModelStrategy
from components.model_pusher.component import ModelPusher
from configs.schema import Config
from ground.source_digest import source_digest
from model import records

# The run-time parameter of a compiled pipeline.
OVERRIDES = "overrides"

# What StatisticsGen looks at, and pipeline/schema.pbtxt describes: all but bytes and ids.
STATISTICS_FEATURES = (
    records.HEIGHT,
    records.WIDTH,
    records.FORMAT,
    records.BOX_YMIN,
    records.BOX_XMIN,
    records.BOX_YMAX,
    records.BOX_XMAX,
    records.CLASS_LABEL,
    records.CLASS_TEXT,
    records.IS_CROWD,
)


@dataclasses.dataclass(frozen=True)
class Places:
    """Where a run reads and writes: paths, or addresses on a cluster.

    Attributes:
        data_dir: the COCO-format folder.
        pictures_digest: digest of that folder, so that a changed picture is seen; "" where the
            compiler cannot see it.
        weights_digest: digest of the file that `model.weights` names; likewise, and "" without one.
        pipeline_root: below it TFX puts every output.
        checkpoints: stable place of training checkpoints.
        detections: stable place of cached detections.
        push_folder: base of <name>/<version>.
        schema_file: the curated schema.
        metadata: MLMD's SQLite file; None on a cluster.
    """

    data_dir: str
    pictures_digest: str
    weights_digest: str
    pipeline_root: str
    checkpoints: str
    detections: str
    push_folder: str
    schema_file: str
    metadata: str | None = None


def create_pipeline(
    config: Config,
    places: Places,
    target: Literal["local", "kubeflow", "vertex"] = "local",
    enable_cache: bool = True,
) -> Pipeline:
    """Returns the graph for one config.

    The schema that validates is ours (`ImportSchemaGen`); the one that SchemaGen infers is for
    reading. On Kubeflow there is no Resolver, which its backend cannot run: the evaluator itself
    looks for the baseline where models are pushed. So it does on Vertex, which knows two strategies
    of its own only: there the Resolver names what was pushed last, for the lineage.
    """
    overrides = RuntimeParameter(OVERRIDES, ptype=str) if target != "local" else None
    examples = CocoExampleGen(
        data_dir=places.data_dir,
        pictures_digest=places.pictures_digest,
        settings=CocoExampleGenSettings.of(config),
        source_digest=source_digest("components.coco_example_gen.executor"),
        overrides=overrides,
    )
    statistics = StatisticsGen(
        examples=examples.outputs["examples"],
        stats_options=tfdv.StatsOptions(feature_allowlist=list(STATISTICS_FEATURES)),
    )
    inferred_schema = SchemaGen(statistics=statistics.outputs["statistics"])
    schema = ImportSchemaGen(schema_file=places.schema_file)
    validator = ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    transform = CocoTransform(
        examples=examples.outputs["examples"],
        anomalies=validator.outputs["anomalies"],
        settings=CocoTransformSettings.of(config),
        source_digest=source_digest("components.coco_transform.executor"),
        overrides=overrides,
    )
    trainer = DetectionTrainer(
        examples=transform.outputs["transformed_examples"],
        settings=DetectionTrainerSettings.of(config),
        source_digest=source_digest("components.detection_trainer.executor", "model.launch.worker"),
        overrides=overrides,
        checkpoints_dir=places.checkpoints,
        weights_digest=places.weights_digest,
    )
    nodes: list[BaseNode] = [
        examples,
        statistics,
        inferred_schema,
        schema,
        validator,
        transform,
        trainer,
    ]
    baseline = None
    if target == "local":
        resolver = Resolver(
            strategy_class=NewestPushedModelStrategy,
            config={"skip_unusable": config.evaluate.on_unusable_baseline == "ignore"},
            model=trainer.outputs["model"],
            pushed_model=Channel(type=PushedModel),
        ).with_id("Resolver")
        nodes.append(resolver)
        baseline = resolver.outputs["pushed_model"]
    elif target == "vertex":
        resolver = Resolver(
            strategy_class=LatestArtifactStrategy, pushed_model=Channel(type=PushedModel)
        ).with_id("Resolver")
        nodes.append(resolver)
        baseline = resolver.outputs["pushed_model"]
    evaluator = CocoEvaluator(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=baseline,
        is_baseline_resolved=target == "local",
        settings=CocoEvaluatorSettings.of(config),
        source_digest=source_digest("components.coco_evaluator.executor"),
        overrides=overrides,
        detections_dir=places.detections,
        push_folder=places.push_folder,
    )
    pusher = ModelPusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_folder=places.push_folder,
        model_name=config.name,
        source_digest=source_digest("components.model_pusher.executor"),
    )
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=places.pipeline_root,
        metadata_connection_config=(
            sqlite_metadata_connection_config(places.metadata) if places.metadata else None
        ),
        components=[*nodes, evaluator, pusher],
        enable_cache=enable_cache,
        beam_pipeline_args=beam_arguments(config.pipeline.beam_args),
    )
