"""The components of the pipeline: TFX wiring around code of our own, one folder each."""

from typing import Any

from tfx_rcnn import settle_if_main

settle_if_main()

_ARTIFACT_TYPES = ("DataReport", "Evaluation", "Rejects", "TrainingRun")


def __getattr__(name: str) -> Any:
    """Returns one of our artifact types, loading TFX only when asked.

    Kubeflow's entry point imports them by their type name, which TFX limits to one short package
    and a class (`components.Rejects`).
    """
    if name not in _ARTIFACT_TYPES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from components import artifacts

    return getattr(artifacts, name)
