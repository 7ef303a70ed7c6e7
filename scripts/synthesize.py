"""Makes training tasks and dialogues; see configs/eigendata/builtin.py."""

import common

from agentrl.eigendata import run
from agentrl.report import html

if __name__ == '__main__':
  common.run(run.synthesize, page=html.write_data)
