#!/usr/bin/env bash
# Runs the modern lane on a system that is too old for it: in a root of Debian 13, made for this by
# debootstrap and removed at the end, however that comes. A copy of this checkout, with what is not
# yet committed, is set up, tested and runs its demo there.
#
#   scripts/test_modern.sh                 make test (with Chromium), make demo, parity where its
#                                          data is
#   scripts/test_modern.sh COMMAND...      this instead, in the checkout's folder
#
# Needs root, debootstrap, network and 15 GB. Settings:
#   TFX_RCNN_ROOT=DIR     where the root is made; default /var/tmp/tfx-rcnn-modern
#   TFX_RCNN_KEEP_ROOT=yes  the root is not removed at the end; the next run makes it anew
#   DEBIAN_MIRROR=URL     default: the first that apt has, else debootstrap's
#   UV_* PIP_* *_proxy, certificates and the configuration files of pip and uv go along
set -euo pipefail

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ROOT=${TFX_RCNN_ROOT:-/var/tmp/tfx-rcnn-modern}
# With a folder above it of its own: the tests look for shared data beside the checkout.
PLACE=/srv/tfx-rcnn
PACKAGES=ca-certificates,g++,git,make,python3,python3-dev

say() { printf 'test-modern: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

build_root() {
  local mirror=${DEBIAN_MIRROR:-} log=$ROOT.log
  if [[ -z $mirror ]]; then
    # shellcheck disable=SC2016  # apt's own variables
    mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -m 1 '/debian/\?$' || true)
  fi
  say "making a root of Debian 13 in $ROOT"
  debootstrap --variant=minbase --include="$PACKAGES" trixie "$ROOT" ${mirror:+"$mirror"} \
    >"$log" 2>&1 || { tail -n 5 "$log" >&2; die "debootstrap failed: $log"; }
  rm "$log"
}

# The machine's own way to its package registries, for the time of this run.
bring_settings() {
  local path
  cp -L /etc/resolv.conf /etc/hosts "$ROOT/etc/"
  for path in /etc/pip.conf /etc/uv "${HOME:-/root}/.config/pip" "${HOME:-/root}/.config/uv"; do
    if [[ -e $path ]]; then
      mkdir -p "$ROOT${path%/*}"
      cp -rL "$path" "$ROOT${path%/*}/"
    fi
  done
  if [[ -d /usr/local/share/ca-certificates ]]; then
    cp -rL /usr/local/share/ca-certificates "$ROOT/usr/local/share/"
    chroot "$ROOT" update-ca-certificates >/dev/null 2>&1
  fi
}

bring_checkout() {
  mkdir -p "$ROOT$PLACE"
  (cd "$REPO" && git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do
      if [[ -e $file || -L $file ]]; then printf '%s\0' "$file"; fi
    done | tar -c --null -T -) | tar -x -C "$ROOT$PLACE"
}

# Runs in a mount and process namespace of its own: mounts and processes end with it.
inside() {
  local data name
  local -a variables=()
  mount -t proc proc "$ROOT/proc"
  mount --rbind /sys "$ROOT/sys"
  mount --rbind /dev "$ROOT/dev"
  data=$(cd "${TFX_RCNN_DATA:-$REPO/../shared/data}" 2>/dev/null && pwd || true)
  if [[ -n $data ]]; then
    mkdir -p "$ROOT/srv/shared/data"
    mount --bind -o ro "$data" "$ROOT/srv/shared/data"
  fi
  for name in $(compgen -e); do
    case $name in
      UV_* | PIP_* | SSL_* | *_CA_BUNDLE | *_CA_CERTS | *_proxy | *_PROXY | CI | TERM)
        variables+=("$name=${!name}") ;;
    esac
  done
  # shellcheck disable=SC2016  # for the shell inside
  chroot "$ROOT" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/usr/sbin \
    "${variables[@]}" bash -c 'cd "$0" && exec "$@"' "$PLACE" "$@"
}

clean_up() {
  if [[ -n ${child:-} ]]; then
    # unshare itself passes over other signals; its child and all below end with it.
    kill -KILL "$child" 2>/dev/null && wait "$child" 2>/dev/null || true
  fi
  if [[ -z ${TFX_RCNN_KEEP_ROOT:-} ]]; then rm -rf --one-file-system "$ROOT"; fi
}

if [[ ${1:-} == --inside ]]; then shift; inside "$@"; exit; fi

((EUID == 0)) || die 'needs root, for debootstrap and chroot'
type -P debootstrap >/dev/null || die "needs debootstrap: 'apt-get install debootstrap'"
exec 9>"$ROOT.lock"
flock --nonblock 9 || die "another run is at work in $ROOT"
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
rm -rf --one-file-system "$ROOT"  # of a run that was killed

build_root
bring_settings
bring_checkout
if (($# == 0)); then
  parity=../shared/data/parity
  set -- bash -ec "scripts/chromium.sh
    make test
    make demo
    if [[ -d $parity ]]; then .venv/bin/python -m tests.parity $parity; fi"
fi
# In the background, so that a signal is taken at once; it ends with us even where we are killed.
# A shell has its background jobs ignore Ctrl-C, and so would every process of the tests.
env --default-signal=INT,QUIT setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child bash "${BASH_SOURCE[0]}" --inside "$@" 9>&- &
child=$!
status=0
wait "$child" || status=$?
child=
say "done, exit status $status (${SECONDS}s)"
exit "$status"
