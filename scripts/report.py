"""Writes report.html and summary.json of a chain, finished or not:

  python scripts/report.py --workdir=runs/mine
"""

import common

from agentrl.report import html

if __name__ == '__main__':
  common.run(lambda config, workdir: print(html.write(workdir)),
             required=['workdir'])
