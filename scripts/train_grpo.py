"""Trains by GRPO; see configs/grpo/.

  python scripts/train_grpo.py --config=configs/grpo/builtin.py --workdir=...
"""

import common

from agentrl.rl import train

if __name__ == '__main__':
  common.run(train.train)
