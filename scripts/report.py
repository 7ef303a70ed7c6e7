"""Writes report.html and summary.json of a chain, finished or not:

  python scripts/report.py --workdir=runs/mine
"""

import common

from agentrl import files
from agentrl.report import html
from agentrl.report import text


def report(config: None, workdir: str) -> None:
  """Writes both, and prints the numbers."""
  del config
  path = html.write(workdir)
  print(text.table(files.read_json(path.with_name('summary.json'))))
  print(path)


if __name__ == '__main__':
  common.run(report, required=['workdir'])
