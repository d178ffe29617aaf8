"""A trainer and a node of it as processes of their own, with the test doubles for workers.

    python -m tests.pipeline.kubeflow.fan_out.tiny_pods trainer API EXAMPLES OUT HOSTS
    python -m tests.pipeline.kubeflow.fan_out.tiny_pods node API FOLDER

HOSTS (`name:port`, separated by commas) stand for the pods' names, which no DNS knows here.
"""

import json
import os
import sys
from pathlib import Path

from components.detection_trainer.settings import DetectionTrainerSettings
from model.launch.launcher import train
from pipeline.kubeflow.fan_out import node, trainer
from pipeline.kubeflow.fan_out.trainer import EXECUTOR, Patience, fan_out
from tests.model.training.tiny_run import MODULE, resumed_config, write_examples
from tests.pipeline.kubeflow.fan_out.conftest import connected


def _train(api: str, examples: str, out: str, hosts: str) -> None:
    trainer.hosts_of = lambda *_: tuple(hosts.split(","))
    batch = f"{hosts.count(',') + 1}x2"
    values = {
        "settings": DetectionTrainerSettings.of(resumed_config(batch, 30)).to_json(),
        "overrides": "",
    }
    artifact = {"uri": str(write_examples(Path(examples)))}
    message = {
        "inputs": {
            "parameterValues": values,
            "artifacts": {"examples": {"artifacts": [artifact]}},
        }
    }
    patience = Patience(poll=0.1, stop=2.0)
    with fan_out(EXECUTOR, message, "", os.environ, lambda: connected(api), patience):
        train(
            DetectionTrainerSettings.from_json(values["settings"], values["overrides"]),
            examples,
            out,
            on_progress=lambda event: print(json.dumps(event.to_json()), flush=True),
            worker_module=MODULE,
        )


if __name__ == "__main__":
    if sys.argv[1] == "trainer":
        _train(*sys.argv[2:])
    else:
        node.run(
            Path(sys.argv[3]),
            connect=lambda: connected(sys.argv[2]),
            worker_module=MODULE,
            poll_seconds=0.2,
            ready_file=f"{sys.argv[3]}-ready",
        )
