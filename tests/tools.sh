#!/usr/bin/env bash
# tools.sh DIR: puts the servers and browsers that the tests run against within reach. What is on PATH is used as it is.
# Prometheus and Alertmanager are unpacked under DIR, not installed, so that no service starts; Chromium needs its
# libraries, so it is installed, which takes root. What cannot be had is said here, and its tests say that they skip.
set -uo pipefail
dir=${1:?usage: tools.sh DIR}
mkdir -p "$dir"
PATH="$dir/usr/bin:$PATH"

missing() { for name in "$@"; do command -v "$name" >/dev/null || return 0; done; return 1; }

updated=
apt_update() { [ -n "$updated" ] || { apt-get update -qq || true; updated=1; }; }

unpack() { # PACKAGE...: download with apt and unpack under $dir
  command -v apt-get >/dev/null || { echo "skipping $*: no apt-get here; put them on PATH"; return; }
  [ "$(id -u)" != 0 ] || apt_update
  local tmp; tmp=$(mktemp -d)
  if (cd "$tmp" && apt-get -o APT::Sandbox::User=root download -qq "$@" >/dev/null); then
    for deb in "$tmp"/*.deb; do dpkg -x "$deb" "$dir"; done
  else
    echo "skipping $*: apt-get could not download them"
  fi
  rm -rf "$tmp"
}

install() { # PACKAGE COMMAND: install with apt where this is root
  missing "$2" || return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt_update
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null \
      || echo "skipping $1: apt-get could not install it"
  else
    echo "skipping $1: it takes root to install it (apt-get install $1)"
  fi
}

missing prometheus promtool && unpack prometheus
missing prometheus-alertmanager amtool && unpack prometheus-alertmanager
# Debian's Alertmanager has its own templates read from a fixed place, and does not start without them.
templates=usr/share/prometheus
if [ "$(id -u)" = 0 ] && [ -d "$dir/$templates" ] && [ ! -e "/$templates" ]; then
  ln -s "$(realpath "$dir")/$templates" "/$templates"
fi
install chromium chromium
install openssl openssl
install gcc cc
for name in prometheus promtool prometheus-alertmanager amtool openssl cc chromium; do
  missing "$name" && echo "not on this machine: $name (the tests that need it will say so)"
done
exit 0
