#!/usr/bin/env bash
# What AWS's TensorFlow container starts in a job of scripts/train_sagemaker.py: makes .venv of the
# lock for training alone, then trains in it. Our archive brings it there beside tfx-rcnn/ (pipeline/sagemaker/source.py).
#
# The toolkit gives the hyperparameters as arguments too; the training reads them from SageMaker's
# file. SAGEMAKER_BASE_DIR is the toolkit's own name for another folder than /opt/ml.
set -euo pipefail

BASE=${SAGEMAKER_BASE_DIR:-/opt/ml}
LOG=$BASE/output/setup.log
mkdir -p "$BASE/output"
cd "$(dirname "${BASH_SOURCE[0]}")/tfx-rcnn"

# The toolkit's: AWS's packages would come before those of the lock.
unset PYTHONPATH PYTHONHOME
# Without TFX, which training does not import.
export TFX_RCNN_PACKAGES=train
# On the disk of .venv, so that files are linked and not copied.
export UV_CACHE_DIR=${UV_CACHE_DIR:-$PWD/.uv.cache}

if ! scripts/setup.sh 2>&1 | tee "$LOG" >&2; then
  reason=$(tail -n 5 "$LOG" | xargs -d '\n')
  # SageMaker shows this much of it.
  printf 'the environment could not be made: %.980s' "$reason" >"$BASE/output/failure"
  exit 1
fi
exec .venv/bin/python -m pipeline.sagemaker.entry --root "$BASE"
