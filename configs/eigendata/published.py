"""A corpus that others have published, as the data stage of tau2-bench:

  python scripts/import_corpus.py --config=configs/eigendata/published.py \
    --config.dialogues=corpus/tau2_sft_train.jsonl \
    --config.tasks=corpus/tau2_rl_train.jsonl --workdir=runs/published/data

Either file may be left out. What is dropped, and why: manifest.json. Tasks
with databases of their own need --config.env.databases=<workdir>/databases
wherever they are played.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  c = ml_collections.ConfigDict()
  c.seed = 0  # of nothing yet; every data stage has one
  c.domains = ('tau2:airline', 'tau2:retail', 'tau2:telecom')
  c.env = dict(prompt='full')
  c.dialogues = ''  # JSON lines of one-turn rows
  c.tasks = ''  # JSON lines of tasks
  c.judged_on = 'test'  # nothing about tasks of this split gets in, or `base`
  c.drop_failures = True  # by the notes of the corpus' makers
  c.thinking = True  # False: for models whose vocabulary has no place for it
  c.drop_flagged = False  # what looks like personal data: only reported
  return c
