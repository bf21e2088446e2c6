#!/usr/bin/env bash
# Set up napari-sam3d in .venv, check the code, build the documentation and run the tests;
# arguments go to pytest.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

create_environment all,test,docs
install_display
PATH=$PWD/.venv/bin:$PATH

ruff check .
ruff format --check .
mypy
lint-imports
npe2 validate src/napari_sam3d/napari.yaml
NO_MKDOCS_2_WARNING=1 mkdocs build # strict, as mkdocs.yml says; --quiet would hear no warning

exec python -m pytest "$@" # on a screen of its own, by pytest-xvfb
