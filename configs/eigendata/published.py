"""A corpus that others have published, as the data stage of tau2-bench:

  python scripts/import_corpus.py --config=configs/eigendata/published.py \
    --config.dialogues=corpus/tau2_sft_train.jsonl \
    --config.tasks=corpus/tau2_rl_train.jsonl --workdir=runs/published/data

Either file may be left out. The manifest counts the dropped rows by reason.
Tasks with databases of their own need
--config.env.databases=<workdir>/databases in every stage that plays them.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  c = ml_collections.ConfigDict()
  c.seed = 0  # unused; every data stage has one
  c.domains = ('tau2:airline', 'tau2:retail', 'tau2:telecom')
  c.env = dict(prompt='full')
  c.dialogues = ''  # JSON lines of one-turn rows
  c.tasks = ''  # JSON lines of tasks
  c.judged_on = 'test'  # split whose tasks are kept out; or `base`
  c.drop_failures = True  # dialogues that the corpus marks as failed
  c.thinking = True  # False for vocabularies without marks for thinking
  c.drop_flagged = False  # apparent personal data is only reported
  return c
