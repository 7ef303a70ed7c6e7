#!/usr/bin/env bash
# Installs agentrl with its test tools and runs linter and tests.
#   scripts/test.sh [--slow] [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/install.sh test
bash scripts/install_tau2.sh  # the oracle of envs/tau2.py
marks='not slow'
if [ "${1:-}" = --slow ]; then
  marks='slow or not slow'
  shift
fi
.venv/bin/ruff check agentrl configs scripts tests
exec .venv/bin/python -m pytest -m "$marks" "$@"
