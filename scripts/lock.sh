#!/usr/bin/env bash
# Writes requirements/: the exact packages of both lanes (docs/lanes.md) for Linux x86-64.
#
#   scripts/lock.sh                       after a change of setup.py: pins that still fit stay
#   scripts/lock.sh --upgrade             all to the newest that fit
#   scripts/lock.sh --upgrade-package X   one of them (each as `uv pip compile` takes it)
#
#   LANE.txt         what `make setup` installs     setup.py with extras: dev, mlflow, onnx, sagemaker
#   LANE-gpu.txt     CUDA beside it                 setup.py's extra gpu
#   LANE-train.txt   for a machine that only trains requirements/train.in, with LANE.txt's pins
#   docs.txt         for `make docs-site`           requirements/docs.in, for both lanes' Pythons
#
# It needs a uv: `make setup` brings one. Which index it asks is uv's own matter; none is written.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

UV=$(command -v uv || echo .uv/bin/uv)
"$UV" --version >/dev/null || { echo "lock: no uv found: run make setup first" >&2; exit 1; }

# resolve LANE ARGUMENT...: one lock for all of a lane's Pythons; [tool.uv] of pyproject.toml
# names the systems.
resolve() {
  local -a pythons
  case $1 in
    modern) pythons=(--universal --python-version 3.12) ;;
    legacy) pythons=(--python-version 3.10 --python-platform x86_64-manylinux_2_28) ;;
    docs) pythons=(--universal --python-version 3.10) ;;
  esac
  shift
  "$UV" pip compile --quiet "${pythons[@]}" --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links "$@"
}

# write FILE TITLE: replaces a lock by the pins on the standard input, under its title. Markers
# keep what differs between the lane's Pythons, and lose the systems, which all lines share.
write() {
  local systems=" and implementation_name == 'cpython'.*" all=" ; python_full_version < '3.14'"
  { echo "# $2; made by scripts/lock.sh."; sed "s/$systems//; s/$all\$//"; } >"$1.new"
  mv "$1.new" "$1"
}

pins=$(mktemp -d)
trap 'rm -rf "$pins"' EXIT
for lane in modern legacy; do
  cat "requirements/$lane.txt" "requirements/$lane-gpu.txt" >"$pins/$lane.txt" 2>/dev/null || true
  resolve "$lane" "$@" --extra dev --extra mlflow --extra onnx --extra sagemaker setup.py -o "$pins/$lane.txt"
  write "requirements/$lane.txt" "The $lane lane, without CUDA" <"$pins/$lane.txt"
  cat "$pins/$lane.txt" "requirements/$lane-gpu.txt" >"$pins/gpu.txt" 2>/dev/null || true
  resolve "$lane" "$@" --extra gpu -c "requirements/$lane.txt" setup.py -o "$pins/gpu.txt"
  grep '^nvidia-' "$pins/gpu.txt" | write "requirements/$lane-gpu.txt" "CUDA for the $lane lane"
  resolve "$lane" -c "requirements/$lane.txt" requirements/train.in |
    write "requirements/$lane-train.txt" "The part of the $lane lane that trains"
done
cp requirements/docs.txt "$pins/docs.txt" 2>/dev/null || true
resolve docs "$@" requirements/docs.in -o "$pins/docs.txt"
write requirements/docs.txt "What builds the documentation site" <"$pins/docs.txt"
if [[ -x .venv/bin/python ]]; then .venv/bin/python scripts/licences.py; fi
