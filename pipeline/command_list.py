"""Every command of `tfx-rcnn`: its name, what it does, and where it is."""

from ground.command_group import Listed

COMMANDS = {
    "The whole pipeline": (
        Listed(
            "run", "Runs the whole pipeline here, or a part of it.", "pipeline.local.commands:run"
        ),
        Listed(
            "init",
            "Looks at a folder and writes a config that fits it.",
            "pipeline.init.command:init",
        ),
        Listed(
            "demo",
            "Draws pictures and runs the whole pipeline on them.",
            "pipeline.local.commands:demo",
        ),
        Listed(
            "doctor",
            "Tries everything that a run needs, and says what mends it.",
            "pipeline.doctor.command:doctor",
        ),
    ),
    "Data": (
        Listed(
            "look",
            "Shows data and what a model found in the browser.",
            "pipeline.look.command:look",
        ),
        Listed(
            "shapes", "Draws a COCO-format data set of shapes.", "pipeline.local.commands:shapes"
        ),
        Listed(
            "example-gen",
            "Converts COCO-format data into examples (CocoExampleGen).",
            "components.coco_example_gen.__main__:main",
            ("components.coco_example_gen",),
        ),
        Listed(
            "transform",
            "Makes records that training reads (CocoTransform).",
            "components.coco_transform.__main__:main",
            ("components.coco_transform",),
        ),
    ),
    "Training": (
        Listed(
            "train",
            "Trains a detector and exports it (DetectionTrainer).",
            "model.commands.train:main",
            ("model.train", "components.detection_trainer"),
        ),
        Listed(
            "train-hosts",
            "Trains on several hosts over ssh.",
            "pipeline.hosts.multi_node:main",
            ("pipeline.hosts.multi_node",),
        ),
        Listed("train-sagemaker", "Trains on SageMaker.", "pipeline.sagemaker.command:main"),
        Listed(
            "estimate",
            "Says what a training will take: time, memory, money.",
            "model.commands.estimate:main",
            ("model.estimate",),
        ),
        Listed(
            "tune",
            "Finds fast settings for this machine.",
            "model.commands.tune:main",
            ("model.tune",),
        ),
        Listed(
            "curves",
            "Draws the curves of training runs.",
            "model.commands.curves:main",
            ("model.curves",),
        ),
        Listed(
            "import-weights",
            "Reads weights of others into a detector of ours.",
            "model.commands.import_weights:main",
            ("model.import_weights",),
        ),
    ),
    "Measuring and using a model": (
        Listed(
            "evaluate",
            "Measures a model and decides about it (CocoEvaluator).",
            "components.coco_evaluator.__main__:main",
            ("components.coco_evaluator",),
        ),
        Listed(
            "push",
            "Copies a blessed model to where it is served (ModelPusher).",
            "components.model_pusher.__main__:main",
            ("components.model_pusher",),
        ),
        Listed(
            "history",
            "Lists runs, verdicts and versions, and what differs.",
            "pipeline.local.version_commands:history",
        ),
        Listed(
            "rollback",
            "Puts an older version back into service.",
            "pipeline.local.version_commands:rollback",
        ),
        Listed(
            "bless",
            "Pushes a refused model by a person's word.",
            "pipeline.local.version_commands:bless",
        ),
        Listed(
            "predict",
            "Finds and draws objects in pictures.",
            "model.commands.predict:main",
            ("model.predict",),
        ),
        Listed(
            "export",
            "Writes a model as ONNX, TFLite or float16, and compares.",
            "model.commands.export:main",
        ),
        Listed(
            "serve",
            "Serves a model here, with a page to try it on.",
            "model.commands.serve:main",
            ("model.serve",),
        ),
        Listed(
            "bulk-predict",
            "Finds objects in many pictures, by Beam.",
            "components.bulk_predict.__main__:main",
            ("components.bulk_predict",),
        ),
    ),
    "Kubeflow Pipelines and Vertex AI": (
        Listed(
            "compile",
            "Writes the pipeline as a file for Kubeflow or Vertex AI.",
            "pipeline.kubeflow.commands:compile_",
        ),
        Listed(
            "run-compiled",
            "Runs a compiled file here, as Kubeflow would.",
            "pipeline.kubeflow.commands:run_compiled",
        ),
        Listed(
            "upload",
            "Stores a compiled pipeline as a version.",
            "pipeline.kubeflow.api.commands:upload",
        ),
        Listed(
            "submit",
            "Starts a run and follows it to its end.",
            "pipeline.kubeflow.api.commands:submit",
        ),
        Listed("follow", "Follows a run to its end.", "pipeline.kubeflow.api.commands:follow"),
        Listed(
            "terminate",
            "Ends a run; what it has stored stays.",
            "pipeline.kubeflow.api.commands:terminate",
        ),
        Listed(
            "schedule", "Starts runs again and again.", "pipeline.kubeflow.api.commands:schedule"
        ),
        Listed("runs", "Lists runs, the newest first.", "pipeline.kubeflow.api.commands:runs"),
        Listed(
            "delete",
            "Deletes a pipeline, a version, a run or a schedule.",
            "pipeline.kubeflow.api.commands:delete",
        ),
    ),
}
