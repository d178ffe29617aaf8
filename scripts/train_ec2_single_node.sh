#!/usr/bin/env bash
# Trains on the GPUs of one machine, called as AWSDet's users do:
#
#   scripts/train_ec2_single_node.sh <NUM_GPUS> <config.yaml> [KEY=VALUE ...]
#
# It runs the whole pipeline on data/ (annotations/, train2017/, val2017/, or what the config names;
# DATA_DIR for another folder) and writes to runs/<name of the config file>/ (ROOT for another one).
# What is done already is not done again, and a training that was cut off goes on from its last
# checkpoint. The pictures per GPU are the config's, so NUM_GPUS sets the global batch and, where the
# config scales it, the learning rate. On a machine without GPUs it is the number of processes.
set -euo pipefail

usage="usage: scripts/train_ec2_single_node.sh <NUM_GPUS> <config.yaml> [KEY=VALUE ...]"
[[ $# -ge 2 && $1 =~ ^[1-9][0-9]*$ ]] || { echo "$usage" >&2; exit 2; }
[[ -f $2 ]] || { echo "error: $2: no such config file" >&2; exit 2; }
num_gpus=$1
config=$(realpath "$2")
settings=("${@:3}")
data_dir=$(realpath -m "${DATA_DIR:-data}")
root=$(realpath -m "${ROOT:-runs/$(basename "$2" .yaml)}")

cd "$(dirname "$(realpath "$0")")/.."
python=${PYTHON:-.venv/bin/python}
# What is wrong with a config says `pipeline run` below, in one line.
read_pictures='import sys; from configs.loader import load_config
print(load_config(sys.argv[1], sys.argv[2:]).train.pictures_per_worker)'
pictures=$("$python" -c "$read_pictures" "$config" "${settings[@]}" 2>/dev/null || echo 1)

exec "$python" -m pipeline run --config "$config" --data-dir "$data_dir" --root "$root" \
  "${settings[@]/#/--set=}" --set "train.batch=${num_gpus}x${pictures}"
