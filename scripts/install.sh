#!/usr/bin/env bash
# Makes .venv and installs agentrl with the extras given: install.sh [extras]
# Sourced or run; needs Python 3.11+ and pip's index, nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
extras=${1:-}
python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "agentrl needs Python 3.11 or newer, but '$python' is" \
    "$("$python" --version 2>&1 || echo absent): set PYTHON=/path/to/python3.11." >&2
  exit 1
fi
[ -x .venv/bin/python ] || "$python" -m venv .venv
# The stamp names what was installed, so a second call costs nothing.
want="$extras $(cat setup.py agentrl/__init__.py | cksum)"
if [ "$(cat ".venv/.installed-$extras" 2>/dev/null)" != "$want" ]; then
  echo "Installing agentrl${extras:+[$extras]} into .venv ..."
  .venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
    -e ".${extras:+[$extras]}" 2> .venv/pip.log || {
      cat .venv/pip.log >&2
      echo 'Installation failed: see the lines above.' >&2
      exit 1
    }
  echo "$want" > ".venv/.installed-$extras"
fi
