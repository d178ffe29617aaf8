#!/usr/bin/env bash
# Makes .venv of one of the two lanes of packages (docs/lanes.md), with this checkout, editable:
#
#   modern   Python 3.13 or 3.12, requirements/modern.txt; wherever both can run
#   legacy   Python 3.10, requirements/legacy.txt; elsewhere
#
#   scripts/setup.sh                 make it, or do nothing when it is already right
#   scripts/setup.sh --lane          only print the lane, and why it is that
#   scripts/setup.sh --find-python   only print the Python that would be used
#
# Needs bash, any Python 3 (without pip is fine), a C++ compiler and network. Settings:
#   LANE=modern|legacy          instead of the choice by the C library and the Pythons here
#   TFX_RCNN_GPU=auto|yes|no    CUDA packages; auto: where `nvidia-smi` works
#   TFX_RCNN_PACKAGES=all|train train: without TFX, for a machine that only trains
#   UV_* and PIP_INDEX_URL      as uv and pip read them (mirrors, certificates, caches)
set -euo pipefail

UV_VERSION=0.13.9
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
STAMP=$VENV/.complete
# Wheels of TFDV and ML Metadata 1.21 are built for this C library, which Debian 12 and Ubuntu
# 22.04 do not have; those of all else in the modern lane for the older one.
MODERN_GLIBC=2.39
MODERN_TRAIN_GLIBC=2.28

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Succeeds where the first version (of digits and points) is not older than the second.
is_at_least() {
  local -a have want
  IFS=. read -r -a have <<<"$1"
  IFS=. read -r -a want <<<"$2"
  ((have[0] > want[0] || (have[0] == want[0] && have[1] >= want[1])))
}

# Sets `lane`, `why` and `pythons`: the lane's Python versions, best first.
choose_lane() {
  local glibc needed=$MODERN_GLIBC
  if [[ $packages == train ]]; then needed=$MODERN_TRAIN_GLIBC; fi
  glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null || true)
  glibc=${glibc##* }
  case ${LANE:-} in
    modern | legacy) lane=$LANE why="LANE=$LANE" ;;
    '') ;;
    *) die "LANE: expected modern or legacy, got '$LANE'" ;;
  esac
  if ! is_at_least "${glibc:-0.0}" "$needed"; then
    if [[ ${lane:-} == modern ]]; then
      die "LANE=modern needs glibc $needed or later, and this system has ${glibc:-none}: \
'make test-modern' runs it in a root of Debian 13, LANE=legacy is for here"
    fi
    lane=legacy why=${why:-"glibc ${glibc:-of no version} is older than $needed"}
  fi
  if [[ -z ${lane:-} ]]; then
    if find_python 3.13 3.12 >/dev/null; then
      lane=modern why="glibc $glibc and a Python 3.13 or 3.12"
    elif find_python 3.10 >/dev/null; then
      lane=legacy why='no working Python 3.13 or 3.12, but a 3.10'
    else
      lane=modern why="glibc $glibc"
    fi
  fi
  pythons=(3.10)
  if [[ $lane == modern ]]; then pythons=(3.13 3.12); fi
}

# Prints the real path of a Python of one of the versions given that runs, or fails: the system's
# own python3 first, then as the versions are listed. A version manager's shim may be on the PATH
# and fail, so every candidate is started. The modules are those that a Python built without the
# system's libraries lacks.
find_python() {
  local version candidate folder
  local -a folders candidates=()
  IFS=: read -r -a folders <<<"$PATH"
  for version in '' "$@"; do
    for folder in "${folders[@]}"; do candidates+=("$folder/python${version:-3}"); done
  done
  for version in "$@"; do
    candidates+=("${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/"$version"*/bin/python"$version")
  done
  for candidate in "${candidates[@]}"; do
    [[ -x $candidate ]] || continue
    "$candidate" -I - "$@" 2>/dev/null <<'PY' && return
import bz2, ctypes, lzma, os, sqlite3, ssl, sys, zlib
if "%d.%d" % sys.version_info[:2] not in sys.argv[1:]:
    sys.exit(1)
print(os.path.realpath(sys.executable))  # Not a virtual environment's link: ours is replaced.
PY
  done
  return 1
}

# Says what is missing to build the packages that come as source, before anything is downloaded.
check_compiler() {
  local python=$1 missing=() packages='g++ python3-dev'
  grep -q '^pyfarmhash==' "${locks[@]}" || return 0
  type -P c++ >/dev/null || type -P g++ >/dev/null || missing+=('a C++ compiler')
  "$python" -I -c '
import os, sysconfig
raise SystemExit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))
' || missing+=("Python's headers (Python.h)")
  ((${#missing[@]})) || return 0
  local all="${missing[*]}"
  if ((${#missing[@]} == 2)); then all="${missing[0]} and ${missing[1]}"; fi
  die "$all missing, which pyfarmhash is built with: 'apt-get install $packages', or what \
your system has for it, and run this again"
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
  local -a found apt=(-q -o "Dir::State::Lists=$1.apt/lists" -o "Dir::Cache=$1.apt")
  mapfile -t found < <(find_python "${pythons[@]}"; type -aP python3)
  for python in "${found[@]}"; do
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

# A finished environment of the lane is brought up to date; an unfinished one is not trusted.
is_of_the_lane() {
  local version
  [[ -f $STAMP ]] || return 1
  version=$("$VENV/bin/python" -I -S -c 'import sys; print("%d.%d" % sys.version_info[:2])' \
    2>/dev/null) || return 1
  [[ " ${pythons[*]} " == *" $version "* ]]
}

build() {
  local uv python
  say "$lane lane (Python ${pythons[*]}): $why"
  if ! python=$(find_python "${pythons[@]}"); then python=; fi
  if [[ -n $python ]]; then check_compiler "$python"; fi
  uv=$(find_uv)
  if is_of_the_lane; then
    rm "$STAMP"
  else
    rm -rf "$VENV"
    if [[ -n $python ]]; then
      "$uv" venv --quiet --no-project --python "$python" "$VENV"
    else
      say "no working Python ${pythons[0]} found here, asking uv for one"
      "$uv" venv --quiet --no-project --python "${pythons[0]}" "$VENV" 2>"$ROOT/.uv.log" ||
        die "$no_python"
      rm -f "$ROOT/.uv.log"
      check_compiler "$VENV/bin/python"
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

packages=${TFX_RCNN_PACKAGES:-all}
case $packages in
  all | train) ;;
  *) die "TFX_RCNN_PACKAGES: expected all or train, got '$packages'" ;;
esac
choose_lane
no_python="no working Python ${pythons[0]} found: install it ('pyenv install ${pythons[0]}', \
'uv python install ${pythons[0]}' or your system's python${pythons[0]} package) and run this again"
case ${1:-} in
  --lane) echo "$lane: $why"; exit ;;
  --find-python) find_python "${pythons[@]}" || die "$no_python"; exit ;;
  '') ;;
  *) die "$1: expected --lane, --find-python or nothing" ;;
esac

locks=("$ROOT/requirements/$lane.txt")
if [[ $packages == train ]]; then locks=("$ROOT/requirements/$lane-train.txt"); fi
if has_gpu; then locks+=("$ROOT/requirements/$lane-gpu.txt"); fi
wanted=$(cd "$ROOT" && { echo "$ROOT"; cat "${locks[@]}" setup.py scripts/setup.sh; } | sha256sum)
if is_complete; then exit; fi

# uv reads neither pip's index nor its certificates.
export UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-300}
if [[ -n ${PIP_INDEX_URL:-} ]]; then export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}; fi
if [[ -n ${PIP_CERT:-} ]]; then export SSL_CERT_FILE=${SSL_CERT_FILE:-$PIP_CERT}; fi

exec 9>"$ROOT/.setup.lock"
flock 9  # Two makes at once: the second waits, then finds the work done.
is_complete || build
