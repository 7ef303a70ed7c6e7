"""Trains by supervised fine-tuning; see configs/sft/.

  python scripts/train_sft.py --config=configs/sft/builtin.py --workdir=...
"""

import common

from agentrl.sft import train

if __name__ == '__main__':
  common.run(train.train)
