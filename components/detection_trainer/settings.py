"""The settings that DetectionTrainer is handed."""

from model.training_settings import TrainingSettings


class DetectionTrainerSettings(TrainingSettings):
    """What the launcher and its workers read; the component itself reads nothing more."""
