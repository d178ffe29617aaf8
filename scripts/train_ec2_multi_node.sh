#!/usr/bin/env bash
# Trains on the GPUs of several machines over ssh:
#
#   scripts/train_ec2_multi_node.sh <HOSTS_FILE> <GPUS_PER_NODE> <config.yaml> [KEY=VALUE ...]
#
# --help says what the hosts need and which variables there are; docs/clusters.md says more.
set -euo pipefail

here=$(dirname "$(realpath "$0")")/..
python=${PYTHON:-$here/.venv/bin/python}
PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m pipeline.multi_node "$@"
