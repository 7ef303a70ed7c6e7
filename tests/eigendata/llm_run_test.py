"""The engine with its LLM behind a server: faults change nothing, money ends.

The server answers by the procedural stand-in, so what comes out is known.
"""

import dataclasses
import itertools
import json
import random
import threading

import ml_collections
import pytest

from agentrl import files
from agentrl import jsons
from agentrl import testing
from agentrl.data import episodes
from agentrl.eigendata import evolve
from agentrl.eigendata import run
from agentrl.llm import llm as llm_lib
from agentrl.llm.stand_in import procedural

pytest.importorskip('openai', reason='needs pip install -e .[llm]')
KEY = testing.ChatServer.key
MISTAKES = dict.fromkeys(procedural.MISTAKEN, 0.1)
LIMITS = dict(concurrency=4, timeout_s=1.0, max_wait_s=60.0)


@pytest.fixture
def corpus(config, monkeypatch, tmp_path, capfd):
  """`corpus(name, faults, **fields)` makes data by way of a server; returns
  (folder, manifest, server)."""
  monkeypatch.setenv('OPENAI_API_KEY', KEY)
  monkeypatch.setenv('NO_PROXY', '127.0.0.1')
  monkeypatch.setattr('agentrl.llm.openai.chat.BACKOFF_S', (0.001, 0.01))
  def make(name, fault=lambda body: '', **fields):
    settings = config(**{**dict(
        domains=['orders'], num_train=8, num_test=2, workers=4, shard_size=2,
        runner='agentrl.eigendata.scale.runners:threads',
        llm='agentrl.llm.openai.chat:OpenAIChat',
        llm_kw=dict(model='a-model', limits=LIMITS)), **fields})
    behind = testing.answer_by(procedural.Procedural(MISTAKES))
    with testing.ChatServer(behind, fault) as server:
      monkeypatch.setenv('OPENAI_BASE_URL', server.url)
      run.synthesize(ml_collections.ConfigDict(settings), tmp_path / name)
    manifest = files.read_json(tmp_path / name / 'manifest.json')
    return tmp_path / name, manifest, server
  yield make
  assert KEY not in ''.join(capfd.readouterr())
  for file in tmp_path.rglob('*'):
    if file.is_file() and file.name != 'code.diff':  # it may hold this test
      assert KEY.encode() not in file.read_bytes()


def at_random(share):
  rng = random.Random(0)
  def fault(body):
    name = rng.choice(sorted(testing.FAULTS)) if rng.random() < share else ''
    if name == 'wrong form' and 'response_format' not in body:
      return ''  # in a dialogue nobody can tell
    # A second bad answer would be a rejection.
    bad = name in ('wrong form', 'unknown tool')
    return '' if bad and testing.mends(body) else name
  return fault


def test_a_fifth_of_faults_leaves_the_corpus_as_it_is(corpus):
  calm = corpus('calm')[1]
  rough, server = corpus('rough', at_random(0.2), workers=3)[1:]
  offline = corpus('offline', llm='agentrl.llm.stand_in.procedural:Procedural',
                   llm_kw=dict(mistakes=MISTAKES), workers=1)[1]
  names = ('tasks_train.jsonl', 'tasks_test.jsonl', 'episodes')
  made = [{name: m['made'][name] for name in names}
          for m in (calm, rough, offline)]
  assert made[0] == made[1] == made[2]
  assert server.keys == {f'Bearer {KEY}'}
  assert calm['train']['rejected'] == rough['train']['rejected']


PRICES = [['a-model', 1.0, 2.0, 0.5]]  # dollars a million tokens


def test_the_budget_ends_a_run_in_good_order_and_the_cache_goes_on(
    corpus, tmp_path):
  account = dict(prices=PRICES, cache=str(tmp_path / 'cache'))
  folder, short, server = corpus(
      'short', num_train=20, llm_account=dict(account, dollars=0.02))
  assert short['stopped'].startswith('over budget: $0.0')
  kept = short['train']['kept']
  assert 0 < kept < 20 and short['test']['kept'] == 0
  assert 'Budget: used up' not in short['train']['rejected']
  paid = short['cost']['paid']
  assert paid['calls'] <= len(server.asked)  # one may have timed out
  assert paid['dollars'] == pytest.approx(paid['calls'] * 44e-6)
  assert paid['dollars'] <= 0.02
  assert short['cost']['dollars_per_task'] == pytest.approx(
      paid['dollars'] / kept, abs=1e-6)

  again, whole, server = corpus('whole', num_train=20, llm_account=account)
  assert whole['stopped'] == '' and whole['train']['kept'] == 20
  hits = sum(s.get('hits', 0) for s in whole['cost']['stages'].values())
  # Some of what was cut off was asked for a sample that came to nothing.
  assert 0.5 * paid['calls'] < hits <= paid['calls']
  texts = lambda f: {jsons.dumps(dataclasses.replace(t, id=''))
                     for t in episodes.tasks(f, 'train')}
  assert texts(folder) < texts(again)
  assert whole['cost']['dollars_per_task'] > 20e-6


def test_the_price_of_a_task_is_the_whole_price(
    corpus, monkeypatch, tmp_path):
  monkeypatch.setitem(MISTAKES, 'intent', 0.5)  # so that there is criticism
  fields = dict(
      num_train=2, num_test=1, plan_pairs=1, databases=1,
      evolve=dict(rounds=1, pilot=4, audit=1, patience=1, target=2.0),
      llm_account=dict(prices=PRICES, cache=str(tmp_path / 'cache')))
  first, again = (corpus(name, **fields)[1] for name in ('a', 'b'))
  assert first['made'] == again['made']  # its rounds, and what each took, too
  cold, warm = first['cost'], again['cost']
  stages = cold['stages']
  assert {'WorkflowPlanner', 'Critic', 'PromptEngineer', 'UserIntent',
          'DialogSynthesis'} <= set(stages)
  assert sum(s.get('dollars', 0) for s in stages.values()) == pytest.approx(
      cold['paid']['dollars'])
  assert warm['paid'] == {}
  for unit in ('dollars', 'tokens'):
    assert warm[f'{unit}_per_task'] == cold[f'{unit}_per_task'] > 0


def test_a_run_whose_server_went_away_goes_on_where_it_was(corpus, tmp_path):
  fields = dict(num_train=4, num_test=0, llm_account=dict(
      cache=str(tmp_path / 'cache')), llm_kw=dict(
          model='a-model', limits=LIMITS | dict(max_wait_s=0.2)))
  calls = itertools.count()
  with pytest.raises(llm_lib.Unavailable):
    corpus('a', lambda body: 'broken' if next(calls) > 40 else '', **fields)
  made, server = corpus('a', **fields)[1:]
  assert made['cost']['stages']['UserIntent']['hits'] >= 3
  offline = corpus('b', llm='agentrl.llm.stand_in.procedural:Procedural',
                   num_train=4, num_test=0, llm_kw=dict(mistakes=MISTAKES))[1]
  assert made['made']['episodes'] == offline['made']['episodes']


EVOLVING = dict(rounds=3, pilot=2, audit=2, patience=9, target=2.0)


def test_after_an_error_nothing_is_paid_and_nothing_cut_off_is_kept(
    corpus, monkeypatch, tmp_path):
  """Two streams evolve at once, and one of them breaks."""
  monkeypatch.setitem(MISTAKES, 'intent', 0.5)
  fields = dict(num_train=2, num_test=0, plan_pairs=2, workers=2,
                evolve=EVOLVING | dict(rounds=2))
  plain, lock, broke = evolve._audit, threading.Lock(), []
  def breaks(m, *args):
    with lock:
      if not broke and m.ledger.spent.calls > 40:
        broke.extend([m.ledger, m.ledger.spent.calls])
        raise KeyboardInterrupt
    return plain(m, *args)
  monkeypatch.setattr(evolve, '_audit', breaks)
  account = lambda name: dict(llm_account=dict(cache=str(tmp_path / name)))
  with pytest.raises(KeyboardInterrupt):
    corpus('a', **fields, **account('cache_a'))
  ledger, calls = broke
  assert ledger.spent.calls < calls + 20  # that were under way
  assert not list((tmp_path / 'a/evolved').glob('0*'))
  made = corpus('a', **fields, **account('cache_a'))[1]
  whole = corpus('b', **fields, **account('cache_b'))[1]
  assert made['cost']['paid'] == whole['cost']['paid']
  names = ('tasks_train.jsonl', 'streams.json', 'episodes')
  assert [made['made'][n] for n in names] == [whole['made'][n] for n in names]


def test_evolution_leaves_enough_to_write_tasks(corpus):
  fields = dict(num_train=4, num_test=0, plan_pairs=1, workers=1)
  made = corpus('a', **fields, evolve=EVOLVING | dict(rounds=16),
                llm_account=dict(tokens=26_000))[1]
  [(stream, why)] = made['evolution_stopped'].items()
  assert 'evolution has 50% of all' in why
  assert made['train']['kept'] == 4 and not made['stopped']


def test_a_budget_that_made_nothing_may_be_raised_in_the_same_folder(corpus):
  fields = dict(num_train=4, num_test=0, plan_pairs=1)
  with pytest.raises(ValueError, match='Only 0 of 4.*over budget.*Raise conf'):
    corpus('a', **fields, llm_account=dict(tokens=8000))
  made = corpus('a', **fields, llm_account=dict(tokens=800_000))[1]
  whole = corpus('b', **fields)[1]
  assert made['made']['episodes'] == whole['made']['episodes']
  assert made['cost']['paid']['calls'] > whole['cost']['paid']['calls']
  with pytest.raises(ValueError, match='tokens was 800000, is 9'):  # it is done
    corpus('a', **fields, llm_account=dict(tokens=9))


def test_a_budget_for_nothing_is_an_error(corpus):
  with pytest.raises(ValueError, match='Not even the plans could be paid'):
    corpus('none', llm_account=dict(tokens=100))


def test_what_a_model_will_not_do_is_in_the_funnel(corpus, monkeypatch):
  """One intent refused, one too long, the others nonsense."""
  ends = iter(('content_filter', 'length'))
  monkeypatch.setattr(testing, 'FAULTS', {
      'end': lambda chat: chat.say('I', next(ends, 'stop'))})
  asked = lambda body: json.dumps(body.get('response_format', ''))
  with pytest.raises(ValueError) as e:
    corpus('bad', lambda body: 'end' if 'scenario' in asked(body) else '',
           num_train=2, max_tries=3)
  found = str(e.value)
  assert "'UserIntent: refused': 1" in found
  assert "'UserIntent: answer too long': 1" in found
  assert "'UserIntent: unparsable': " in found


def test_a_judge_of_its_own(corpus):
  server = corpus('roles', num_train=2, num_test=0, llm_roles=dict(
      TrajectoryValidation=dict(model='a-judge')))[2]
  verdicts = ['"fault"' in json.dumps(body.get('response_format', ''))
              for body in server.asked]
  assert any(verdicts)
  assert verdicts == [body['model'] == 'a-judge' for body in server.asked]


@pytest.mark.parametrize('fields, text', [
    (dict(runner='agentrl.eigendata.scale.runners:processes'),
     'a-model has limits and a budget'),
    (dict(runner='agentrl.eigendata.scale.runners:beam', workers=1),
     'a-model has limits and a budget'),
    (dict(llm_account=dict(evolve_share=0)), 'evolve_share is a share'),
    (dict(llm_roles=dict(TrajectoryValidator={})), "mean 'TrajectoryValidati"),
    (dict(llm_roles=dict(UserIntent=dict(brief=True))), 'brief would have no'),
    (dict(llm_account=dict(dollars=1.0)), "No price of 'a-model'"),
    (dict(llm_account=dict(prices=[['a-model', 1.0]])), 'A price is a row'),
    (dict(llm_account=dict(dollar=1.0)), "Did you mean 'dollars'"),
    (dict(llm_kw=dict(model='')), 'No model to ask'),
    (dict(demands_test=[0.0]), "No plan is left for split 'test'"),
])
def test_wrong_fields_are_refused_before_anything_is_asked(
    corpus, fields, text):
  asked = []
  with pytest.raises(ValueError, match=text):
    corpus('wrong', lambda body: asked.append(body) or '', **fields)
  assert not asked


def test_a_server_that_is_gone_ends_the_run_at_once(corpus, monkeypatch):
  def gone(body):
    monkeypatch.setattr('agentrl.llm.openai.chat.STRANGER_S', 0.2)
    return 'broken'
  with pytest.raises(llm_lib.Unavailable, match='a-model at 127.0.0.1:.* 500'):
    corpus('gone', gone, llm_kw=dict(
        model='a-model', limits=dict(max_wait_s=0.2)))


def test_tools_are_told_and_paid_once(corpus):
  server = corpus('once', env={'prompt': 'full'}, num_train=1, num_test=0)[2]
  described = [(tool['function']['description'], body['messages'][0]['content'])
               for body in server.asked for tool in body.get('tools', ())]
  assert described
  assert not [told for told, system in described if told in system]
