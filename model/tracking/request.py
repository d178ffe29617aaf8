"""What a run wants to be tracked with: kept beside the settings, which results hang on."""

import contextlib
import importlib.util
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from configs.schema import Config
from configs.tracking_schema import TrackingConfig
from ground.addresses import shown_text
from ground.errors import ConfigError

_PACKAGES = {"mlflow": "mlflow", "wandb": "wandb"}  # setting and extra: module


@dataclass(frozen=True)
class TrackingRequest:
    """What is asked for.

    Attributes:
        settings: the trackers.
        name: the config's name.
        parameters: the whole config, a text by dotted name.
    """

    settings: TrackingConfig
    name: str
    parameters: Mapping[str, str]

    @classmethod
    def of(cls, config: Config) -> "TrackingRequest | None":
        """Returns what a config asks for; None for nothing.

        Raises:
            ConfigError: the package of a tracker is not installed.
        """
        values = config.model_dump(mode="json", exclude={"tracking"})
        return cls.for_settings(config.tracking, config.name, values)

    @classmethod
    def for_settings(
        cls, tracking: TrackingConfig, name: str, values: Mapping[str, Any]
    ) -> "TrackingRequest | None":
        """Returns what trackers are to get; None without any.

        Args:
            tracking: the trackers.
            name: the config's name.
            values: settings, the run's parameters.

        Raises:
            ConfigError: the package of a tracker is not installed.
        """
        if not tracking.is_asked:
            return None
        for setting, module in _PACKAGES.items():
            if getattr(tracking, setting) and importlib.util.find_spec(module) is None:
                raise ConfigError(
                    f"tracking.{setting}: the package {module} is missing: pip install "
                    f"'tfx-rcnn[{setting}]', or set tracking.{setting}=null"
                )
        return cls(tracking, name, flat(values))


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns the leaves of nested settings as texts by dotted name; addresses without secrets.

    >>> flat({"train": {"batch": "1x4", "steps": [1, 2], "ema": None}})
    {'train.batch': '1x4', 'train.steps': '[1, 2]', 'train.ema': 'null'}
    """
    leaves: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            leaves[prefix + key] = shown_text(text)
    return leaves


_current: list[TrackingRequest] = []


@contextlib.contextmanager
def asked_for(request: TrackingRequest | None) -> Iterator[None]:
    """Has trainings of this process within the block be tracked.

    TFX hands a component what its results hang on, and nothing beside.
    """
    if request is None:
        yield
        return
    _current.append(request)
    try:
        yield
    finally:
        _current.pop()


def current_request() -> TrackingRequest | None:
    """Returns what `asked_for` says here."""
    return _current[-1] if _current else None
