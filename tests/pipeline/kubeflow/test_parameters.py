"""Parameters with a type become settings; a run's own overrides win."""

from components.coco_evaluator.settings import CocoEvaluatorSettings
from components.detection_trainer.settings import DetectionTrainerSettings
from configs.loader import default_config
from pipeline.kubeflow.parameters import TYPED, with_typed_as_overrides


def test_every_parameter_stands_for_a_setting() -> None:
    settings = default_config().model_dump(mode="json")
    for parameter in TYPED.values():
        assert parameter.value_in(settings) is not None
    assert TYPED["epochs"].value_in({"train": {}}) is None
    assert TYPED["epochs"].value_in({"data": {}}) is None


def test_the_compiled_values_change_nothing() -> None:
    config = default_config(
        ["train.epochs=3", "evaluate.thresholds=[{metric: box/AP, min: 0.25, max_drop: 0.01}]"]
    )
    everything = config.model_dump(mode="json")
    values = {name: parameter.value_in(everything) for name, parameter in TYPED.items()}
    for part in (DetectionTrainerSettings, CocoEvaluatorSettings):
        settings = part.of(config).to_json()
        given = with_typed_as_overrides({"settings": settings, **values})
        assert set(given) == {"settings", "overrides"}
        assert part.from_json(settings, given["overrides"]) == part.from_json(settings)


def test_a_given_value_is_the_setting_and_overrides_win() -> None:
    settings = DetectionTrainerSettings.of(default_config()).to_json()
    given = with_typed_as_overrides({"epochs": 5.0, "overrides": "train.seed=3"})
    config = DetectionTrainerSettings.from_json(settings, given["overrides"])
    assert (config.train.epochs, config.train.seed) == (5.0, 3)
    given = with_typed_as_overrides({"epochs": 5.0, "overrides": "train.epochs=6"})
    assert DetectionTrainerSettings.from_json(settings, given["overrides"]).train.epochs == 6.0


def test_a_semicolon_in_a_value_does_not_end_it() -> None:
    settings = CocoEvaluatorSettings.of(default_config()).to_json()
    threshold = {"metric": "box/AP", "min": 0.5, "category": "a;b"}
    given = with_typed_as_overrides({"thresholds": [threshold], "overrides": ""})
    assert ";" not in given["overrides"]
    without = {key: value for key, value in threshold.items() if key != "category"}
    given = with_typed_as_overrides({"thresholds": [without]})
    received = CocoEvaluatorSettings.from_json(settings, given["overrides"])
    assert received.evaluate.thresholds[0].min == 0.5


def test_without_typed_parameters_nothing_changes() -> None:
    assert with_typed_as_overrides({"a": 1, "overrides": "x=1"}) == {"a": 1, "overrides": "x=1"}
    assert with_typed_as_overrides({"a": 1}) == {"a": 1}
