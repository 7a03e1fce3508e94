#!/usr/bin/env bash
# Pictures of pages of the built site, wide and narrow, to look at: scripts/screenshots.sh [FOLDER] [PAGE ...]
set -euo pipefail
site=$(cd "$(dirname "$0")/../docs/_build/html" && pwd)
folder=${1:-screenshots}
shift || true
pages=("$@")
[ ${#pages[@]} -gt 0 ] || pages=(index start concepts gallery measured objectives notebooks/from_scratch reference/gfnjax.objectives)
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
mkdir -p "$folder"
for page in "${pages[@]}"; do
  for width in 1400 500; do
    "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size="$width,1600" \
      --screenshot="$folder/${page//\//-}-$width.png" "file://$site/$page.html" 2> /dev/null
  done
done
ls "$folder"
