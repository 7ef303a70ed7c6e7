"""`summary.json`, and the sentences made of it."""

import shutil

import pytest

from agentrl import files
from agentrl.report import summary
from agentrl.report import text


def test_a_whole_chain(chain):
  figures = summary.write(chain)
  assert figures == files.read_json(chain / 'summary.json')
  assert set(figures['seconds']) == set(summary.STAGES)
  assert figures['seconds']['grpo'] == 61.5
  assert figures['peak_memory_gib'] == 2.75
  for name in ('sft', 'grpo'):
    for k in range(1, 5):
      low, high = figures[name][f'pass^{k}_interval']
      assert low <= figures[name][f'pass^{k}'] <= high
  assert figures['delta'] == pytest.approx(
      figures['grpo']['pass^1'] - figures['sft']['pass^1'])
  low, high = figures['delta_interval']
  assert low <= figures['delta'] <= high
  assert set(figures['floors']) == {'noop', 'refuse', 'transfer'}
  assert figures['user_fault_rate'] == figures['grpo']['user_fault_rate']
  assert figures['measurement'] and figures['seed'] == 0 and figures['versions']


def test_what_is_missing_is_none_and_says_why(chain):
  shutil.rmtree(chain / 'eval_grpo')
  figures = summary.summarize(chain)
  assert figures['grpo'] is None and figures['delta'] is None
  assert figures['delta_problem'] == 'eval_grpo not finished.'
  assert figures['seconds']['eval_grpo'] is None
  assert figures['sft']['pass^1'] is not None and figures['floors']


def test_other_measurements_have_no_difference(chain):
  path = chain / 'eval_grpo' / 'metrics.json'
  files.write_json(path, files.read_json(path) | {
      'measurement': 'x', 'measurement_parts': {'user': 'v'}})
  figures = summary.summarize(chain)
  assert figures['delta'] is None
  assert 'different: user' in figures['delta_problem']
  assert 'different: user' in ' '.join(text.sentences(figures))


def _made_up(sft=0.4, grpo=0.55, low=0.05, high=0.25):
  reliability = lambda x: {
      'pass^1': x, 'pass^1_interval': [x - 0.1, x + 0.1],
      'user_fault_rate': 0.03}
  return {
      'sft': reliability(sft), 'grpo': reliability(grpo), 'num_tasks': 200,
      'num_trials': 1, 'delta': grpo - sft, 'delta_interval': [low, high],
      'floors': {'noop': 0.0, 'refuse': 0.02, 'transfer': 0.1},
      'gold': 1.0, 'user_fault_rate': 0.03}


def test_the_headline_says_no_more_than_the_interval():
  better = text.headline(_made_up())
  assert 'raises pass^1 on 200 held-out tasks by 15.0 points' in better
  assert 'lowers' in text.headline(_made_up(low=-0.3, high=-0.1))
  assert 'as far as one can tell' in text.headline(_made_up(low=-0.01))
  alone = text.headline(_made_up() | {'grpo': None, 'delta': None})
  assert alone == 'pass^1 on 200 held-out tasks is 40.0\u00a0% after SFT.'
  nothing = {'sft': None, 'grpo': None}
  assert 'not been evaluated' in text.headline(nothing)
  said = ' '.join(text.sentences(_made_up()))
  assert '+5.0 to +25.0 points' in said
  assert 'Beware' not in said
  assert 'Beware' in ' '.join(text.sentences(_made_up() | {'gold': 0.9}))
  assert 'refusing 2.0\u00a0%' in said and '3.0\u00a0% of the dialogues' in said


def test_the_table_fits_a_terminal(chain):
  table = text.table(summary.summarize(chain))
  assert max(map(len, table.splitlines())) <= 80
  assert 'pass^4' in table and 'difference' in table
