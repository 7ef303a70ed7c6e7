"""Trains the vocabulary of models from scratch; see configs/tokenizer/.

  python scripts/train_tokenizer.py --config=configs/tokenizer/builtin.py \
    --workdir=...
"""

import common

from agentrl.data import vocabulary

if __name__ == '__main__':
  common.run(vocabulary.train)
