"""pass^k of an agent on held-out tasks; see configs/eval/.

  python scripts/evaluate.py --config=configs/eval/builtin.py --workdir=...
"""

import common

from agentrl.eval import run

if __name__ == '__main__':
  common.run(run.evaluate)
