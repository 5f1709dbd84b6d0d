#!/usr/bin/env bash
# lock.sh [--upgrade]: writes deploy/requirements-*.txt, what install.sh installs, hash by hash, for Linux on every processor
# and Python from 3.11 on. It asks the package index, so it is `make lock` and no part of `make generate`. Versions that are
# locked stay as long as pyproject.toml allows them; --upgrade takes the newest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
nowhere=$(mktemp -d)
trap 'rm -rf "$nowhere"' EXIT

lock() { # NAME OPTION...: deploy/requirements-NAME.txt
  local name=$1
  shift
  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate \
    --output-file "deploy/requirements-$name.txt" "$@"
  # The images are built without a compiler, so that both kinds of processor must find a wheel of each. Nothing is installed.
  local machine
  for machine in x86_64 aarch64; do
    uv pip install --quiet --dry-run --target "$nowhere" --python-platform "$machine-manylinux_2_28" --python-version 3.12 \
      --only-binary :all: --require-hashes --requirement "deploy/requirements-$name.txt"
  done
  echo "wrote deploy/requirements-$name.txt"
}

lock agent --extra kubernetes --extra otlp "$@" pyproject.toml
lock slo --extra slo "$@" pyproject.toml
python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
  | lock build "$@" -
