#!/usr/bin/env bash
# Builds what is released, checks it, and runs the main job from the wheel in an empty environment.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/tools"
"$work/tools/bin/pip" install --quiet build twine
"$work/tools/bin/python" -m build --outdir "$work/dist" . > "$work/build.log" || { cat "$work/build.log"; exit 1; }
"$work/tools/bin/twine" check --strict "$work"/dist/*

python3 -m venv "$work/user"
"$work/user/bin/pip" install --quiet "$work"/dist/*.whl
cd "$work"  # away from the sources
user/bin/gfnjax train hypergrid --steps 200 --output run
ls run/pictures/*.png
user/bin/python -c 'import gfnjax; print("gfnjax", gfnjax.__version__, "works from its wheel")'
