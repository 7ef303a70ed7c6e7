"""Makes training tasks and dialogues; see configs/eigendata/builtin.py."""

import common

from agentrl.eigendata import run

if __name__ == '__main__':
  common.run(run.synthesize)
