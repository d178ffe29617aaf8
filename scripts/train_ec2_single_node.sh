#!/usr/bin/env bash
# Trains on the GPUs of one machine, called as AWSDet's users do:
#
#   scripts/train_ec2_single_node.sh <NUM_GPUS> <config.yaml> [KEY=VALUE ...]
#
# It runs the whole pipeline on data/ (annotations/, train2017/, val2017/, or what the config names)
# and writes to runs/<name of the config file>/. What is done already is not done again, and a
# training that was cut off goes on from its last checkpoint. The pictures per GPU are the config's,
# so NUM_GPUS (or auto, which counts) sets the global batch and, where the config scales it, the
# learning rate. On a machine without GPUs NUM_GPUS is the number of processes.
#
# data/, runs/ and the paths in the config (model.weights) begin where the script is called.
# Variables: DATA_DIR and ROOT for other folders than these two; with another DATA_DIR give
# AWSDet's rows their model.weights=... too.
set -euo pipefail

usage="usage: scripts/train_ec2_single_node.sh <NUM_GPUS> <config.yaml> [KEY=VALUE ...]"
if [[ " $* " == *" --help "* || " $* " == *" -h "* ]]; then
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"
  exit
fi
[[ $# -ge 2 && $1 =~ ^([1-9][0-9]*|auto)$ ]] || { echo "$usage" >&2; exit 2; }
[[ -f $2 ]] || { echo "error: $2: no such config file" >&2; exit 2; }
settings=("train.workers=$1" "${@:3}")

here=$(realpath "$(dirname "$(realpath "$0")")/..")
# Not before Python's own modules, of which a user's may have the name.
export TFX_RCNN_PYTHONPATH=${PYTHONPATH:-}
unset PYTHONPATH
exec "${PYTHON:-$here/.venv/bin/python}" "$here/tfx_rcnn.py" \
  run --config "$2" --data-dir "${DATA_DIR:-data}" \
  --root "${ROOT:-runs/$(basename "$2" .yaml)}" "${settings[@]/#/--set=}"
