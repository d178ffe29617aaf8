#!/usr/bin/env bash
# Builds the documentation site of docs/ into build/site.
#
# MkDocs and its theme (requirements/docs.txt) get an environment of their own, build/docs-venv, of
# .venv's Python: a few seconds and 50 MB, the first time from the package index.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/build/docs-venv
LOCK=$ROOT/requirements/docs.txt

die() { echo "docs-site: $*" >&2; exit 1; }

if ! cmp -s "$LOCK" "$VENV/.complete"; then
  UV=$(command -v uv || echo "$ROOT/.uv/bin/uv")
  "$UV" --version >/dev/null 2>&1 || die "no uv found: run make setup first"
  rm -rf "$VENV"
  "$UV" venv --quiet --no-project --python "$ROOT/.venv/bin/python" "$VENV" ||
    die "cannot make $VENV: run make setup first"
  "$UV" pip sync --quiet --python "$VENV/bin/python" "$LOCK" ||
    die "cannot install requirements/docs.txt: it needs a package index (UV_DEFAULT_INDEX names a mirror)"
  cp "$LOCK" "$VENV/.complete"
fi
cd "$ROOT"
# The theme's authors warn of MkDocs 2, which requirements/docs.in excludes.
NO_MKDOCS_2_WARNING=1 "$VENV/bin/mkdocs" build --strict --quiet
echo "docs-site: open $ROOT/build/site/index.html"
