"""A vocabulary from the dialogues of the built-in domains:

  python scripts/train_tokenizer.py --config=configs/tokenizer/builtin.py \
    --workdir=runs/mine/tokenizer --config.data=runs/mine/data

For models from scratch: published ones bring theirs.
"""

import ml_collections

from configs import blocks


def get_config() -> ml_collections.ConfigDict:
  c = ml_collections.ConfigDict()
  c.domains = blocks.DOMAINS
  c.env = dict(prompt='brief')  # as in SFT: prompts are text, too
  c.data = ''  # folder of the data stage
  c.vocab_size = 1792
  return c
