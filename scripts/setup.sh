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
# Needs bash, any Python 3 (without pip is fine), a C++ compiler and network. Settings, of which the
# first three are kept in .venv: what was given last time counts where one is not set now.
#   LANE=auto|modern|legacy     auto: by the C library and the Pythons here
#   TFX_RCNN_GPU=auto|yes|no    CUDA packages; auto: where `nvidia-smi` works
#   TFX_RCNN_PACKAGES=all|train train: without TFX, for a machine that only trains
#   UV_* and PIP_INDEX_URL      as uv and pip read them (mirrors, certificates, caches)
set -euo pipefail

UV_VERSION=0.13.9
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
STAMP=$VENV/.complete
CHOICES=$VENV/.choices
CHOSEN_BY=(LANE TFX_RCNN_GPU TFX_RCNN_PACKAGES)
# Wheels of TFDV and ML Metadata 1.21 are built for this C library, which Debian 12 and Ubuntu
# 22.04 do not have; those of all else in the modern lane for the older one.
MODERN_GLIBC=2.39
MODERN_TRAIN_GLIBC=2.28
# What .venv takes, and CUDA beside it.
GIGABYTES=5
GPU_GIGABYTES=4

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Says what this cannot run on, whatever is installed.
check_machine() {
  local system machine
  system=$(uname -s) machine=$(uname -m)
  case $system in
    Linux) ;;
    *) die "$system is not supported, as TFX has no packages for it: use Linux, docker/Dockerfile's \
image, or on Windows WSL 2 with Ubuntu" ;;
  esac
  case $machine in
    x86_64) ;;
    aarch64 | arm64) die "this machine is $machine, and TFX's packages (tfx-bsl, \
tensorflow-data-validation) are for x86-64 alone: use such a machine" ;;
    *) die "this machine is $machine, and TensorFlow's packages are for 64-bit x86-64: use such a system" ;;
  esac
  glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null || true)
  glibc=${glibc##* }
  if [[ ! $glibc =~ ^[0-9]+\.[0-9] ]]; then
    die "this system's C library is not glibc (Alpine's is musl), which TensorFlow's packages are \
built for: use Debian, Ubuntu or docker/Dockerfile's image"
  fi
}

# Succeeds where the first version (of digits and points) is not older than the second.
is_at_least() {
  local -a have want
  IFS=. read -r -a have <<<"$1"
  IFS=. read -r -a want <<<"$2"
  ((have[0] > want[0] || (have[0] == want[0] && have[1] >= want[1])))
}

# Sets the variables that are not set to what is kept of them, and `lane_again` and `rest_again` to
# what is to be said of that.
recall() {
  local name value
  lane_again='' rest_again=''
  for name in "${CHOSEN_BY[@]}"; do
    value=$(sed -n "s/^$name=//p" "$CHOICES" 2>/dev/null) || continue
    if [[ -z $value || -n ${!name:-} ]]; then continue; fi
    printf -v "$name" %s "$value"
    case $name in
      LANE) lane_again=' as last time' ;;
      *) rest_again+="; $name=$value as last time" ;;
    esac
  done
}

# Prints what is to be kept of the variables: what chooses anew, or is usual, is not.
choices() {
  local name
  for name in "${CHOSEN_BY[@]}"; do
    case ${!name:-} in '' | auto | all) ;; *) echo "$name=${!name}" ;; esac
  done
}

are_kept() {
  [[ $(cat "$CHOICES" 2>/dev/null) == "$(choices)" ]]
}

# Under another name first: a set-up that reads at this moment finds the old choices or the new.
keep_choices() {
  if are_kept; then return; fi
  choices >"$CHOICES.new"
  mv "$CHOICES.new" "$CHOICES"
}

# Sets `lane`, `why` and `pythons`: the lane's Python versions, best first.
choose_lane() {
  local needed=$MODERN_GLIBC
  if [[ $packages == train ]]; then needed=$MODERN_TRAIN_GLIBC; fi
  case ${LANE:-auto} in
    modern | legacy) lane=$LANE why="LANE=$LANE$lane_again" ;;
    auto) ;;
    *) die "LANE: expected auto, modern or legacy, got '$LANE'" ;;
  esac
  if ! is_at_least "$glibc" "$needed"; then
    if [[ ${lane:-} == modern ]]; then
      die "$why needs glibc $needed or later, and this system has $glibc: \
'make test-modern' runs it in a root of Debian 13, LANE=legacy is for here"
    fi
    lane=legacy why=${why:-"glibc $glibc is older than $needed"}
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
if "%d.%d" % sys.version_info[:2] not in sys.argv[1:] or sys.maxsize < 2**32:
    sys.exit(1)
print(os.path.realpath(sys.executable))  # Not a virtual environment's link: ours is replaced.
PY
  done
  return 1
}

# Says what is missing to build the packages that come as source, before anything is downloaded.
check_compiler() {
  local python=$1 version missing=()
  grep -q '^pyfarmhash==' "${locks[@]}" || return 0
  type -P c++ >/dev/null || type -P g++ >/dev/null || missing+=('a C++ compiler')
  version=$("$python" -I -c '
import os, sys, sysconfig
there = os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
print("" if there else "%d.%d" % sys.version_info[:2])
')
  if [[ -n $version ]]; then missing+=("Python's headers (Python.h)"); fi
  ((${#missing[@]})) || return 0
  local all="${missing[*]}"
  if ((${#missing[@]} == 2)); then all="${missing[0]} and ${missing[1]}"; fi
  die "$all missing, which pyfarmhash is built with: $(installing "$version"), and run this again"
}

# Prints the line that installs a C++ compiler, and the headers of a Python version if one is given.
installing() {
  local tool names
  local -A lines=(
    [apt-get]="apt-get install g++ ${1:+python$1-dev}"
    [dnf]="dnf install gcc-c++ ${1:+python$1-devel}"
    [zypper]="zypper install gcc-c++ ${1:+python${1/./}-devel}"
    [pacman]="pacman -S gcc"
  )
  for tool in apt-get dnf zypper pacman; do
    if type -P "$tool" >/dev/null; then names=${lines[$tool]}; echo "'${names% }'"; return; fi
  done
  echo "install g++${1:+ and the headers of Python $1}"
}

# Says that .venv will not fit, before anything is downloaded.
check_space() {
  local free needed=$GIGABYTES
  if ((${#locks[@]} > 1)); then ((needed += GPU_GIGABYTES)); fi
  { read -r _; read -r _ _ _ free _; } < <(df -Pk "$ROOT")
  if ((free / 1024 / 1024 < needed)); then
    die "$ROOT has $((free / 1024)) MB of free disk space, and .venv takes $needed GB: make room, \
or take a checkout on another disk"
  fi
}

# Prints in one line why a download or an install failed, by what pip, uv or apt wrote.
reason() {
  case $(<"$1") in
    *'No space left'* | *'os error 28'*)
      echo 'no space left on a disk; the cache is where UV_CACHE_DIR says' ;;
    *certificate* | *CERTIFICATE*)
      echo "the server's certificate is not known here: name your authority's file in SSL_CERT_FILE" ;;
    *'407 '* | *'Proxy Authentication'*)
      echo 'the proxy asks for a name: https_proxy=http://NAME:PASSWORD@HOST:PORT' ;;
    *'dns error'* | *'ould not resolve'* | *'name resolution'* | *'onnection refused'* | \
      *'nreachable'* | *'timed out'* | *'establish a new connection'* | *'error sending request'* | \
      *'onnection reset'* | *'proxy'* | *'Proxy'*)
      echo 'no way to the package index: behind a proxy set https_proxy, for a mirror of your own PIP_INDEX_URL' ;;
    *) grep . "$1" | tail -n 1 | sed 's/^ *//' || echo 'it said nothing' ;;
  esac
}

# Prints the path of a uv that runs; brings one into .uv/ where there is none.
find_uv() {
  local uv new=$ROOT/.uv.new log=$ROOT/.uv.log
  for uv in "$(command -v uv || true)" "$ROOT/.uv/bin/uv"; do
    if [[ -n $uv ]] && "$uv" --version >/dev/null 2>&1; then echo "$uv"; return; fi
  done
  say "bringing uv $UV_VERSION into .uv"
  rm -rf "$ROOT/.uv" "$new"
  if ! { fetch_uv "$new" && "$new/bin/uv" --version; } >"$log" 2>&1; then
    die "cannot fetch uv: $(reason "$log"); or install uv yourself ($log has all)"
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
    dpkg-deb -x python3-pip-whl_*.deb .) || return
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

# install_by UV sync|install ARGUMENT...
install_by() {
  local uv=$1 command=$2 log=$ROOT/.uv.log
  shift 2
  "$uv" pip "$command" --quiet --python "$VENV/bin/python" "$@" 2>"$log" ||
    die "cannot install: $(reason "$log") ($log has all)"
  rm -f "$log"
}

build() {
  local uv python
  say "$lane lane (Python ${pythons[*]}): $why$rest_again"
  if ! python=$(find_python "${pythons[@]}"); then python=; fi
  if [[ -n $python ]]; then check_compiler "$python"; fi
  if ! is_of_the_lane; then
    rm -rf "$VENV"
    check_space
  fi
  uv=$(find_uv)
  if [[ -d $VENV ]]; then
    rm "$STAMP"
  else
    if [[ -n $python ]]; then
      "$uv" venv --quiet --no-project --python "$python" "$VENV" 2>"$ROOT/.uv.log" ||
        die "cannot make .venv: $(reason "$ROOT/.uv.log")"
    else
      say "no working Python ${pythons[0]} found here, asking uv for one"
      "$uv" venv --quiet --no-project --python "${pythons[0]}" "$VENV" 2>"$ROOT/.uv.log" ||
        die "$no_python"
      check_compiler "$VENV/bin/python"
    fi
    say "made .venv from $("$VENV/bin/python" -c 'import sys; print(sys.base_prefix)') (${SECONDS}s)"
  fi
  keep_choices  # Before what may fail: the next run tries the same.
  say "installing ${locks[*]##*/} (4 GB: minutes where nothing is cached)"
  # Else every process compiles thousands of modules where PYTHONDONTWRITEBYTECODE is set, as in
  # most images, and the first one anywhere.
  install_by "$uv" sync --compile-bytecode "${locks[@]}"
  install_by "$uv" install --no-deps --no-build-isolation --editable "$ROOT"
  echo "$wanted" >"$STAMP"
  say "done (${SECONDS}s)"
}

recall
packages=${TFX_RCNN_PACKAGES:-all}
case $packages in
  all | train) ;;
  *) die "TFX_RCNN_PACKAGES: expected all or train, got '$packages'" ;;
esac
check_machine
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
if is_complete && are_kept; then exit; fi

# uv reads neither pip's index nor its certificates.
export UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-300}
if [[ -n ${PIP_INDEX_URL:-} ]]; then export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}; fi
if [[ -n ${PIP_CERT:-} ]]; then export SSL_CERT_FILE=${SSL_CERT_FILE:-$PIP_CERT}; fi

exec 9>"$ROOT/.setup.lock"
flock 9  # Two makes at once: the second waits, then finds the work done.
is_complete || build
keep_choices
