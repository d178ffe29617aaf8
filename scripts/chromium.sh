#!/usr/bin/env bash
# Installs Debian's Chromium where it is missing, root works and apt is there: tests/browser.py
# opens our pages in it. Elsewhere it says in one line why not, and those tests are skipped; only
# under CI=true is a failed installation this script's failure.
set -euo pipefail

say() { printf 'chromium: %s\n' "$*" >&2; }

for name in "${TFX_RCNN_CHROMIUM:-chromium}" chromium-browser google-chrome-stable google-chrome; do
  if type -P "$name" >/dev/null; then exit; fi
done
missing='no Chromium here, so that tests of our pages will be skipped'
if ((EUID != 0)) || ! type -P apt-get >/dev/null; then
  say "$missing: to install it takes root and apt"
  exit
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
if { apt-get -q update && apt-get -q install --yes --no-install-recommends chromium; } \
  >"$log" 2>&1; then
  say "installed Debian's (${SECONDS}s)"
  exit
fi
say "$missing: $(grep '^E:' "$log" | tail -n 1 || tail -n 1 "$log")"
[[ ${CI:-} != true ]]
