#!/usr/bin/env bash
# Builds the documents as a web site in site/; a broken link is an error.
#   scripts/docs.sh [arguments of mkdocs build]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/install.sh docs
# Not --quiet: then warnings are not counted, and strict would pass all of them.
NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict "$@"
echo "The site is built: open site/index.html in a browser."
