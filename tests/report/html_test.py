"""The report as a reader gets it."""

import html.parser
import json
import re
import shutil

import pytest

from agentrl import files
from agentrl.report import data
from agentrl.report import html as report
from agentrl.report import summary

VOID = {'meta', 'input', 'br', 'path', 'use'}


class Checker(html.parser.HTMLParser):
  """Every tag is closed; collects ids, links and what would be fetched."""

  def __init__(self):
    super().__init__()
    self.open, self.ids, self.links, self.fetched = [], set(), set(), []

  def handle_starttag(self, tag, attrs):
    attrs = dict(attrs)
    self.ids.add(attrs.get('id'))
    self.links.add(attrs.get('href') if tag == 'a' else None)
    self.fetched += [v for k, v in attrs.items() if k == 'src']
    if tag in ('script', 'link', 'img', 'iframe'):
      self.fetched.append(tag)
    if tag not in VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    pass

  def handle_endtag(self, tag):
    assert tag in VOID or self.open.pop() == tag


def _text(page):
  body = re.sub(r'<style>.*?</style>|<svg.*?</svg>', '', page, flags=re.S)
  return re.sub(r'\s+', ' ', re.sub(r'<[^>]*>', '', body))


def _only(chain, *stages):
  """The page of a chain of which only some stages are finished."""
  for stage in set(summary.STAGES) - set(stages):
    shutil.rmtree(chain / stage)
  return report.write(chain).read_text()


def test_one_whole_file_that_says_it_all(chain):
  page = report.write(chain).read_text()
  checker = Checker()
  checker.feed(page)
  assert checker.open == [] and checker.fetched == []
  assert 'url(http' not in page and '@import' not in page
  for link in checker.links - {None}:
    assert link[1:] in checker.ids
  assert len(page) < 3e6
  assert (chain / 'summary.json').exists()
  assert '<i class="agent' in page
  said = _text(page)
  for part in (
      'GRPO', 'interval of the paired difference', 'doing nothing',
      'Train: 100 tasks from 140 samples', 'missing detail', '&minus;21',
      'the gold run passes in 3 of 3 wordings', 'Groups without a signal',
      'User model, SFT', 'Agent, SFT', 'Agent, GRPO', 'Checker', 'Certificate',
      'sampled by the user model', '0123456789abcdef'):
    assert part in said, part
  assert 'has not finished' not in said and 'nan' not in said.lower().split()


@pytest.mark.parametrize('kept', [*([s] for s in summary.STAGES),
                                  ['data', 'tokenizer', 'eval_sft']])
def test_missing_stages_are_shown_as_missing(chain, kept):
  said = _text(_only(chain, *kept))
  for stage in ('data', 'user_sft', 'agent_sft', 'grpo', 'eval_grpo'):
    assert (f'Stage {stage} has not finished' in said) == (stage not in kept)


def test_what_the_dialogues_say_is_never_markup(chain):
  path = chain / 'eval_grpo' / 'transcripts.jsonl'
  path.write_text(path.read_text().replace(
      'Hi! How can I help you today?', '<script>alert(1)</script>'))
  assert '<script' not in _only(chain, 'data', 'eval_grpo')


def test_a_folder_without_stages_is_an_error(tmp_path):
  with pytest.raises(ValueError, match='no finished stage'):
    report.write(tmp_path)
  assert not list(tmp_path.iterdir())


def test_a_broken_file_is_named(chain):
  (chain / 'data' / 'stats.json').write_text('{')
  with pytest.raises(ValueError, match='stats.json is not JSON'):
    report.write(chain)


def test_the_funnel_loses_what_was_rejected():
  rows = data.funnel({'tried': 10, 'rejected': {
      'Certificate: untold': 2, 'Strangers: odd': 1, 'TaskValidation: x': 3,
      'Certificate: doubled': 1}})
  assert rows == [
      ('Samples', 10, []), ('TaskValidation', 7, [('x', 3)]),
      ('Certificate', 4, [('untold', 2), ('doubled', 1)]),
      ('Strangers', 3, [('odd', 1)])]


def test_a_run_that_goes_on_shows_its_curves(chain):
  (chain / 'grpo' / 'manifest.json').unlink()
  assert 'Mean reward' in _only(chain, 'data', 'grpo')
  files.write_text(chain / 'grpo' / 'metrics.jsonl', '')
  assert 'Mean reward' not in report.write(chain).read_text()


ROUND = {
    'round': 0, 'stream': 'orders/1/brief', 'version': 'a', 'pilot': 0.2,
    'first_try': None, 'rejected': {'Certificate: untold': 3},
    'audit': {'acceptance': 0.25, 'variety': None, 'mutants': [3, None]},
    'role': 'checker', 'before': 'Write it.\nBe brief.\n',
    'text': 'Write it.\nLeave <nothing> out.\n', 'candidate': 'b',
    'critiques': [{'role': 'checker', 'problem': 'It forgets',
                   'evidence': 'untold: 5 EUR', 'advice': 'Say it'}],
    'after': {'acceptance': 0.75, 'variety': 0.5, 'mutants': [3, 4]},
    'accepted': True, 'spent': {'calls': 9, 'tokens': 900, 'dollars': 0.0}}


def _with_rounds(chain, *rounds):
  files.write_lines(chain / 'data' / 'rounds.jsonl', map(json.dumps, rounds))
  page = report.write_data(chain / 'data').read_text()
  checker = Checker()
  checker.feed(page)
  assert not checker.open and not checker.fetched
  return page


def test_a_page_of_the_data_alone_shows_how_prompts_evolved(chain):
  later = {**ROUND, 'round': 1, 'audit': ROUND['after'], 'accepted': False}
  page = _with_rounds(chain, ROUND, later)
  told = _text(page)
  assert 'orders/1/brief: what became of its prompts (1 of 2 revisions' in told
  assert 'checker, first to last' in told
  assert 'kept, round 0: 25.0 % &rarr; 75.0 % of the audit' in told
  assert 'rolled back, round 1' in told
  assert re.search(r'class="no">- Be brief\.<', page)
  assert re.search(r'class="yes">\+ Leave &lt;nothing&gt; out\.<', page)
  assert 'How the prompts evolved' in report.write(chain).read_text()


def test_every_revision_is_on_the_page_and_what_became_of_each_prompt(chain):
  texts = [f'Line {n}.' for n in range(16)]
  rounds = [{**ROUND, 'round': n, 'before': before, 'text': after,
             'accepted': n % 2 == 0, 'spent': {**ROUND['spent'], 'dollars': .5}}
            for n, (before, after) in enumerate(zip(texts, texts[1:]))]
  note = {k: ROUND[k] for k in ('stream', 'pilot', 'first_try', 'audit',
                                'accepted', 'spent')}
  page = _with_rounds(chain, *rounds, {**note, 'round': 15, 'note': 'No <key>'})
  told = _text(page)
  assert told.count('- Line 0. + Line 15.') == 1
  for before, after in zip(texts, texts[1:]):
    assert f'- {before} + {after}' in told
  assert 'Round 15 had no revision. No &lt;key&gt;' in told
  assert 'Dollars a round and stream' in page and len(page) < 2e5


def test_what_a_kept_task_took_is_said(chain):
  path = chain / 'data' / 'manifest.json'
  cost = {'tokens_per_task': 12345, 'dollars_per_task': None, 'unpriced': []}
  for dollars, words in ((None, '12,345 tokens, with'),
                         (0.0123, '12,345 tokens, $0.0123, with')):
    files.write_json(path, {**files.read_json(path), 'cost': {
        **cost, 'dollars_per_task': dollars}})
    assert f'took {words} all' in _text(
        report.write_data(path.parent).read_text())


def test_the_overlap_of_plans_is_said(chain):
  path = chain / 'data' / 'manifest.json'
  files.write_json(path, {**files.read_json(path), 'plans': {
      'train': {'pairs': 24, 'overlap': 0.125}}})
  told = _text(report.write_data(path.parent).read_text())
  assert '24 pairs of plans for train' in told and '12.5 % stood in' in told


def test_without_validation_nothing_is_called_certified(chain):
  path = chain / 'data' / 'stats.json'
  stats = files.read_json(path)
  assert data.headline(stats) == '200 certified tasks from 280 samples'
  stats['train']['mutants'] |= {'total': 0, 'first_checkers': 0}
  assert data.headline(stats) == ('100 certified tasks from 280 samples, and '
                                  '100 without certificates')
  assert data.headline({'train': stats['train']}) == (
      '100 tasks without certificates from 140 samples')
  files.write_json(path, stats)
  assert '100 without' in _text(report.write_data(path.parent).read_text())


def test_who_made_a_task_and_what_was_sent_back(chain):
  path = chain / 'data' / 'tasks_test.jsonl'
  tasks = [json.loads(line) for line in path.read_text().splitlines()]
  plan = {'id': 'orders/1/brief', 'prompts': 'abc', 'sample': 'train-0/7'}
  tasks[2]['meta'] |= {'plan': plan, 'repaired': [
      {'what': 'checker: untold', 'critique': 'it passes <without> 5 EUR'}]}
  files.write_lines(path, map(json.dumps, tasks))
  told = _text(report.write_data(chain / 'data').read_text())
  assert f'One of them: {tasks[2]["id"]}' in told
  assert 'Sample train-0/7 of the plan orders/1/brief' in told
  assert 'Checker: untold. it passes &lt;without&gt; 5 EUR' in told


def test_a_data_stage_that_kept_nothing_says_why(chain):
  path = chain / 'data' / 'stats.json'
  assert 'Nothing was kept' not in _text(
      report.write_data(path.parent).read_text())
  stats = files.read_json(path)
  stats['train'] |= {
      'tried': 5, 'kept': 0, 'mutants': {'false_accepts': {}, **dict.fromkeys(
          ('total', 'killed', 'equivalent', 'score', 'first_score',
           'first_checkers', 'first_with_false_accepts'), 0)},
      'rejected': {'Certificate: untold': 2, 'DialogSynthesis: no room': 1,
                   'DialogSynthesis: answer too long': 2},
      'examples': {'DialogSynthesis: no room': '9 <tokens>'}}
  files.write_json(path, stats)
  page = _text(report.write_data(path.parent).read_text())
  assert 'Of 5 samples 3 ended at DialogSynthesis.' in page
  assert 'DialogSynthesis: no room 9 &lt;tokens&gt;' in page
  assert 'train: mutants killed no certificate' in page
  assert page.count('by the first checkers') == 1  # of test


def test_a_data_stage_without_rounds_shows_none(chain):
  page = report.write_data(chain / 'data').read_text()
  assert 'How the prompts evolved' not in page and 'Samples' in page
  assert '(unasked: 5, forbidden: 4)' in page
  assert '7 of 104' in ' '.join(page.split())
