"""A trainer and an evaluator that do nothing but what the pusher and the resolver look at."""

# TFX specs are class-level dicts.
# ruff: noqa: RUF012

from pathlib import Path

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import component_spec, standard_artifacts

from model.model_folder import files_digest, find_saved_model
from tests.components.model_pusher.fake_model import write_fake_model


class MakeModelExecutor(base_executor.BaseExecutor):
    def Do(self, input_dict, output_dict, exec_properties):
        folder = Path(output_dict["model"][0].uri) / "Format-Serving"
        model_id = exec_properties["model_id"]
        write_fake_model(folder, model_id, weights=model_id.encode())


class MakeModelSpec(component_spec.ComponentSpec):
    PARAMETERS = {"model_id": component_spec.ExecutionParameter(type=str)}
    INPUTS = {}
    OUTPUTS = {"model": component_spec.ChannelParameter(type=standard_artifacts.Model)}


class MakeModel(base_component.BaseComponent):
    """Makes a model folder with the given id."""

    SPEC_CLASS = MakeModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(MakeModelExecutor)

    def __init__(self, model_id):
        model = types.Channel(type=standard_artifacts.Model)
        super().__init__(spec=MakeModelSpec(model_id=model_id, model=model))


class JudgeExecutor(base_executor.BaseExecutor):
    def Do(self, input_dict, output_dict, exec_properties):
        blessing = output_dict["blessing"][0]
        baselines = input_dict.get("baseline_model") or []
        names = [b.get_string_custom_property("model_id") for b in baselines]
        blessing.set_string_custom_property("compared_with", ",".join(names) or "nothing")
        blessing.set_int_custom_property("blessed", 0 if exec_properties["refuse"] else 1)
        folder = find_saved_model(input_dict["model"][0].uri)
        blessing.set_string_custom_property("model_digest", files_digest(folder))


class JudgeSpec(component_spec.ComponentSpec):
    PARAMETERS = {"refuse": component_spec.ExecutionParameter(type=int)}
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": component_spec.ChannelParameter(
            type=standard_artifacts.PushedModel, optional=True
        ),
    }
    OUTPUTS = {"blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing)}


class Judge(base_component.BaseComponent):
    """Blesses unless told to refuse, and writes down the baseline's model id."""

    SPEC_CLASS = JudgeSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(JudgeExecutor)

    def __init__(self, model, baseline_model, refuse):
        spec = JudgeSpec(
            model=model,
            baseline_model=baseline_model,
            refuse=refuse,
            blessing=types.Channel(type=standard_artifacts.ModelBlessing),
        )
        super().__init__(spec=spec)
