#!/usr/bin/env bash
# Set up napari-sam3d in .venv and run its demo; arguments go to `napari-sam3d demo`.
set -euo pipefail
start=$PWD
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

create_environment all
if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
  install_display || true # without a display the demo writes files and needs none of them
fi
program=$PWD/.venv/bin/napari-sam3d
cd "$start"
exec "$program" demo "$@"
