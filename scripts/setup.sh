#!/usr/bin/env bash
# Makes .venv: Python 3.10 with the packages of constraints.txt and this checkout, editable.
#
#   scripts/setup.sh                 make it, or do nothing when it is already right
#   scripts/setup.sh --find-python   only print the Python 3.10 that would be used
#
# Needs bash, any Python 3 (without pip is fine) and network. Settings:
#   TFX_RCNN_GPU=auto|yes|no    CUDA packages; auto: where `nvidia-smi` works
#   UV_* and PIP_INDEX_URL      as uv and pip read them (mirrors, certificates, caches)
set -euo pipefail

UV_VERSION=0.13.9
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
STAMP=$VENV/.complete
NO_PYTHON="no working Python 3.10 found: install it ('pyenv install 3.10', \
'uv python install 3.10' or your system's python3.10 package) and run this again"

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Prints the real path of a Python 3.10 that runs, or fails. A version manager's shim may be on
# the PATH and fail, so every candidate is started. The modules are those that a Python built
# without the system's libraries lacks.
find_python() {
  local candidate folder
  local -a folders candidates=()
  IFS=: read -r -a folders <<<"$PATH"
  for folder in "${folders[@]}"; do candidates+=("$folder/python3.10"); done
  candidates+=("${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.10*/bin/python3.10)
  for candidate in "${candidates[@]}"; do
    [[ -x $candidate ]] || continue
    "$candidate" -I - 2>/dev/null <<'PY' && return
import bz2, ctypes, lzma, os, sqlite3, ssl, sys, zlib
if sys.version_info[:2] != (3, 10):
    sys.exit(1)
print(os.path.realpath(sys.executable))  # Not a virtual environment's link: ours is replaced.
PY
  done
  return 1
}

# Prints the path of a uv that runs; brings one into .uv/ where there is none.
find_uv() {
  local uv new=$ROOT/.uv.new log=$ROOT/.uv.log
  for uv in "$(command -v uv || true)" "$ROOT/.uv/bin/uv"; do
    if [[ -n $uv ]] && "$uv" --version >/dev/null 2>&1; then echo "$uv"; return; fi
  done
  say "bringing uv $UV_VERSION into .uv"
  rm -rf "$ROOT/.uv" "$new"
  if ! fetch_uv "$new" >"$log" 2>&1; then
    tail -n 3 "$log" >&2
    die "cannot fetch uv: install it, or pip for python3, and run this again"
  fi
  rm -f "$log"
  mv "$new" "$ROOT/.uv"
  echo "$ROOT/.uv/bin/uv"
}

# Installs uv into a folder with the first pip that works: that of a Python here, else Debian's
# pip wheel, which needs no installing (Debian's python3 comes without pip and ensurepip).
fetch_uv() {
  local python wheel
  local -a pythons apt=(-q -o "Dir::State::Lists=$1.apt/lists" -o "Dir::Cache=$1.apt")
  mapfile -t pythons < <(find_python; type -aP python3)
  for python in "${pythons[@]}"; do
    "$python" -m pip install --quiet --target "$1" "uv==$UV_VERSION" && return
  done
  mkdir -p "$1.apt/lists/partial" "$1.apt/archives/partial"
  (cd "$1.apt" && apt-get "${apt[@]}" update && apt-get "${apt[@]}" download python3-pip-whl &&
    dpkg-deb -x python3-pip-whl_*.deb .)
  for wheel in "$1.apt"/usr/share/python-wheels/pip-*.whl; do
    python3 "$wheel/pip" install --quiet --target "$1" "uv==$UV_VERSION" || return
  done
  rm -rf "$1.apt"
}

has_gpu() {
  case ${TFX_RCNN_GPU:-auto} in
    yes) ;;
    no) return 1 ;;
    auto) nvidia-smi -L >/dev/null 2>&1 ;;
    *) die "TFX_RCNN_GPU: expected auto, yes or no, got '$TFX_RCNN_GPU'" ;;
  esac
}

# The stamp names everything that the environment follows from, its own place included: scripts
# in a virtual environment carry absolute paths.
is_complete() {
  [[ $(cat "$STAMP" 2>/dev/null) == "$wanted" ]] && "$VENV/bin/python" -I -S -c '' 2>/dev/null
}

build() {
  local uv python
  uv=$(find_uv)
  # A finished environment is brought up to date; an unfinished one is not trusted.
  if [[ -f $STAMP ]] && "$VENV/bin/python" -I -S -c '' 2>/dev/null; then
    rm "$STAMP"
  else
    rm -rf "$VENV"
    if python=$(find_python); then
      "$uv" venv --quiet --no-project --python "$python" "$VENV"
    else
      say "no working Python 3.10 found here, asking uv for one"
      "$uv" venv --quiet --no-project --python 3.10 "$VENV" 2>"$ROOT/.uv.log" || die "$NO_PYTHON"
      rm -f "$ROOT/.uv.log"
    fi
    say "made .venv from $("$VENV/bin/python" -c 'import sys; print(sys.base_prefix)') (${SECONDS}s)"
  fi
  say "installing ${locks[*]##*/} (3 GB and more: minutes where nothing is cached)"
  "$uv" pip sync --quiet --python "$VENV/bin/python" "${locks[@]}"
  "$uv" pip install --quiet --python "$VENV/bin/python" --no-deps --no-build-isolation \
    --editable "$ROOT"
  echo "$wanted" >"$STAMP"
  say "done (${SECONDS}s)"
}

if [[ ${1:-} == --find-python ]]; then
  find_python || die "$NO_PYTHON"
  exit
fi

locks=("$ROOT/constraints.txt")
if has_gpu; then locks+=("$ROOT/constraints-gpu.txt"); fi
wanted=$(cd "$ROOT" && { echo "$ROOT"; cat "${locks[@]}" setup.py scripts/setup.sh; } | sha256sum)
if is_complete; then exit; fi

# uv reads neither pip's index nor its certificates.
export UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-300}
if [[ -n ${PIP_INDEX_URL:-} ]]; then export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}; fi
if [[ -n ${PIP_CERT:-} ]]; then export SSL_CERT_FILE=${SSL_CERT_FILE:-$PIP_CERT}; fi

exec 9>"$ROOT/.setup.lock"
flock 9  # Two makes at once: the second waits, then finds the work done.
is_complete || build
