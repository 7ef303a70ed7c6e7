"""Trains by supervised fine-tuning; see configs/sft/.

  python scripts/train_sft.py --config=configs/sft/builtin.py --workdir=...
"""

from agentrl.sft import train
import common

if __name__ == '__main__':
  common.run(train.train)
