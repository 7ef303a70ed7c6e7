#!/usr/bin/env bash
# Installs agentrl with its test tools and runs linter and tests.
#   scripts/test.sh [--slow] [pytest arguments]
# --slow runs the slow tests too, against a second implementation of the models
# (torch, transformers) and published weights (SmolLM2); then the fast tests
# again on the newest Python that is there, with the newest packages.
set -euo pipefail
cd "$(dirname "$0")/.."
extras=test marks='not slow'
if [ "${1:-}" = --slow ]; then
  extras=test,parity,smollm marks='slow or not slow'
  shift
fi

# run VENV MARKS [pytest arguments]
run() {
  local venv=$1 marks=$2
  shift 2
  bash scripts/install_tau2.sh "$venv/bin/python"  # the oracle of envs/tau2
  # One process a core, each with one thread: see tests/conftest.py.
  "$venv/bin/python" -m pytest -n logical --maxprocesses 8 --dist worksteal \
    -m "$marks" "$@"
}

# Prints the newest interpreter above that of .venv, of pyenv or on PATH.
newest() {
  local minor path
  for minor in 14 13 12; do
    for path in "python3.$minor" \
        "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$minor".*/bin/python; do
      # A shim of pyenv is there for versions that are not chosen, and fails.
      if "$path" -c "import sys, venv; sys.exit(sys.version_info[1] != $minor)" \
          2> /dev/null && .venv/bin/python -c \
          "import sys; sys.exit(sys.version_info[1] >= $minor)"; then
        echo "$path"
        return
      fi
    done
  done
}

bash scripts/install.sh "$extras"
.venv/bin/ruff check agentrl benchmarks configs scripts tests
run .venv "$marks" "$@"
[ "$extras" = test ] && exit
python=$(newest)
if [ -z "$python" ]; then
  echo "No Python newer than $(.venv/bin/python --version) is here: the fast" \
    'tests ran on that alone.'
  exit
fi
PYTHON=$python VENV=.venv-newest bash scripts/install.sh test
echo "The fast tests on $(.venv-newest/bin/python --version):"
run .venv-newest 'not slow' "$@"
