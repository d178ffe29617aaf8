"""A run in Weights & Biases; what it keeps of itself here lies in the run's folder."""

import netrc
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ground.errors import ConfigError
from model.tracking.request import TrackingRequest

# What is asked for is sent: not our errors, the machine, the code or what is on the screen.
_DEFAULTS = {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}


class WandbRun:
    """One run.

    Args:
        run: W&B's own object.
    """

    def __init__(self, run: Any) -> None:
        self._run = run
        self.id = str(run.id)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `TrackedRun`."""
        self._run.log({**values, "step": step})

    def outcome(
        self, values: Mapping[str, float], tags: Mapping[str, str], files: Mapping[str, str]
    ) -> None:
        """See `TrackedRun`."""
        import wandb

        self._run.summary.update({**values, **tags})
        for name, path in files.items():
            artifact = wandb.Artifact(f"{name}-{self.id}", type="report")
            artifact.add_file(path)
            self._run.log_artifact(artifact)

    def end(self, status: str) -> None:
        """See `TrackedRun`."""
        self._run.finish(exit_code=0 if status == "FINISHED" else 1)


def open_wandb_run(request: TrackingRequest, run_id: str | None, folder: Path) -> WandbRun:
    """Returns a new run, or one that goes on.

    Raises:
        ConfigError: nobody is logged in: W&B would ask for a key, and wait.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if os.environ.get("WANDB_MODE") not in ("offline", "disabled") and not _has_key():
        raise ConfigError("not logged in: set WANDB_API_KEY, or WANDB_MODE=offline")
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        project=request.settings.wandb,
        group=request.settings.experiment or request.name,
        name=request.settings.run,
        id=run_id or secrets.token_hex(4),
        resume="allow",
        config=dict(request.parameters),
        dir=str(folder),
        settings=wandb.Settings(
            console="off",
            silent=True,
            disable_code=True,
            disable_git=True,
            init_timeout=30,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        ),
    )
    run.define_metric("step")
    run.define_metric("*", step_metric="step")  # a run that goes on may tell a step twice
    return WandbRun(run)


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("://")[-1].split("/")[0]
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
