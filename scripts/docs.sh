#!/usr/bin/env bash
# Set up napari-sam3d in .venv and build its documentation, to be read without a server.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

create_environment docs
NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build "$@"
echo "Open $PWD/site/index.html"
