#!/usr/bin/env bash
# Trains on the GPUs of several machines over ssh:
#
#   scripts/train_ec2_multi_node.sh <HOSTS_FILE> <GPUS_PER_NODE> <config.yaml> [KEY=VALUE ...]
#
# --help says what the hosts need and which variables there are; docs/clusters.md says more.
set -euo pipefail

here=$(dirname "$(realpath "$0")")/..
python=${PYTHON:-$here/.venv/bin/python}
# Not before Python's own modules, of which a user's may have the name.
export TFX_RCNN_PYTHONPATH=${PYTHONPATH:-}
unset PYTHONPATH
exec "$python" "$here/tfx_rcnn.py" -m pipeline.hosts.multi_node "$@"
