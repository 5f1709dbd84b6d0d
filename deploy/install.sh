#!/usr/bin/env bash
# install.sh agent|slo PREFIX: puts one half of gpufleet into PREFIX, a virtual environment that it makes: `agent` is the
# node agent alone, with OTLP and the kubelet's pods; `slo` has the service and every command. The images and plain hosts
# are made by this one script; run it from anywhere.
# What is installed is in deploy/requirements-*.txt, hash by hash, as wheels: no compiler is asked for. gpufleet itself is
# the wheel of this tree. PIP_… variables are pip's own (PIP_INDEX_URL for a mirror); PYTHON names another python3.
set -euo pipefail
usage="usage: deploy/install.sh agent|slo PREFIX"
part=${1:?$usage}
prefix=${2:?$usage}
python=${PYTHON:-python3}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

case $part in
  agent) packages=(gpufleet exporter) ;; # a node has no use for budgets, rules, boards or pages
  slo) packages=(gpufleet exporter slo alerts dashboards) ;;
  *) echo "$usage" >&2; exit 2 ;;
esac
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || { echo "gpufleet needs Python 3.11 or later, and $python is older: PYTHON=/path/to/python3.11 $0 $*" >&2; exit 1; }
if [ -e "$prefix" ] && [ ! -e "$prefix/pyvenv.cfg" ]; then
  echo "$prefix: is there already and is no virtual environment; name another folder, or remove it" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/build" \
  || { echo "$python cannot make a virtual environment (on Debian: apt-get install python3-venv)" >&2; exit 1; }
pip=("$work/build/bin/python" -m pip --disable-pip-version-check --quiet)
locked=(--only-binary :all: --require-hashes -r)

"${pip[@]}" download --dest "$work/wheels" "${locked[@]}" "$root/deploy/requirements-$part.txt"

# The wheel: a copy of the chosen folders alone is built, so that what is left out of one half is not in its wheel.
mkdir "$work/tree"
cp "$root/pyproject.toml" "$root/README.md" "$root/LICENSE" "$work/tree"
for package in "${packages[@]}"; do cp -R "$root/$package" "$work/tree"; done
find "$work/tree" -name __pycache__ -type d -prune -exec rm -rf {} +
"${pip[@]}" install "${locked[@]}" "$root/deploy/requirements-build.txt"
"${pip[@]}" wheel --no-build-isolation --no-deps --wheel-dir "$work/wheels" "$work/tree"

# Only now that all is here the folder is made, and anew, so that nothing of an older version stays. pip is not in it.
"$python" -m venv --without-pip --clear "$prefix"
into=("${pip[@]}" --python "$prefix/bin/python")
"${into[@]}" install --no-index --find-links "$work/wheels" "${locked[@]}" "$root/deploy/requirements-$part.txt"
"${into[@]}" install --no-index --find-links "$work/wheels" --no-deps gpufleet
"${into[@]}" check
"$prefix/bin/gpufleet" --version
