"""The artifact types of our own, for what TFX has no word.

Each is a folder; the component that writes it says what lies in it. The type names are stored in
MLMD and in compiled pipelines: never change one. Kubeflow's entry point imports the class by its
type name, and allows one package before it: see `components/__init__.py`.
"""

from tfx.types.artifact import Artifact


class Rejects(Artifact):
    """Records that CocoExampleGen refused, whole, each with its reason."""

    TYPE_NAME = "components.Rejects"


class DataReport(Artifact):
    """What CocoTransform found and did: counts, histograms, anchor coverage (JSON and HTML)."""

    TYPE_NAME = "components.DataReport"


class TrainingRun(Artifact):
    """Logs of a training: TensorBoard scalars, worker logs, throughput, where checkpoints are."""

    TYPE_NAME = "components.TrainingRun"


class Evaluation(Artifact):
    """What CocoEvaluator measured and decided.

    `metrics.json`, `detections.json`, `decision.json`, `analysis.json`, `label_errors.json` and
    `report.html`.
    """

    TYPE_NAME = "components.Evaluation"
