# Sourced by the scripts beside it: a virtual environment in .venv, and what Qt needs of Debian.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Libraries of the Qt window and of software OpenGL, with the X server that needs no screen.
display_packages="xvfb xauth libegl1 libgl1 libgl1-mesa-dri libopengl0 libxkbcommon-x11-0
  libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0
  libxcb-shape0 libxcb-xinerama0 libxcb-xkb1 libdbus-1-3 libglib2.0-0 libfontconfig1"

create_environment() { # create_environment EXTRAS
  local python=python3 candidate
  for candidate in python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      python=$candidate
      break
    fi
  done
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -e ".[$1]"
}

missing_packages() {
  local package
  for package in $display_packages; do
    # Debian's 64-bit time change renamed some libraries to NAME + t64.
    { dpkg-query -W -f '${Status}\n' "$package" "${package}t64" 2>/dev/null || true; } |
      grep '^install ok installed' >/dev/null || echo "$package"
  done
}

install_display() {
  command -v dpkg-query >/dev/null || return 0 # not Debian: the system's own Qt and OpenGL serve
  local missing
  missing=$(missing_packages)
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing:" $missing
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
      apt-get install -y -qq --no-install-recommends $missing >/dev/null; } && return 0
  fi
  echo "These packages are missing; install them as root (apt-get install):" $missing >&2
  return 1
}
