#!/usr/bin/env bash
# Installs agentrl into .venv and runs the whole chain on the built-in domains:
# about a quarter of an hour on two CPU cores, no key, no accelerator.
#   scripts/quickstart.sh [--fresh] [--config=configs/quickstart.py:seed=1] ...
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/install.sh
exec .venv/bin/python scripts/run.py --config=configs/quickstart.py \
  --workdir=runs/quickstart "$@"
