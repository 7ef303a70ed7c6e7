"""The same dialogues and verdicts as `rollout.play`, turn by turn."""

from concurrent import futures
import dataclasses
import json
import pathlib
import re

import pytest

from agentrl import testing
from agentrl import types
from agentrl.eigendata import config as config_lib
from agentrl.eigendata import context as context_lib
from agentrl.eigendata import run as run_lib
from agentrl.eigendata import sample
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.envs import gym as gym_lib
from agentrl.envs import load as env_load
from agentrl.eval import floors
from agentrl.llm.stand_in import procedural
from configs.eigendata import builtin as data_config

O = types.Outcome
NEVER = dict.fromkeys(procedural.MISTAKEN, 0.0)
LIMITS = dialogue.Limits(max_steps=30, max_errors=2)


@pytest.fixture(scope='module')
def orders():
  """(environment, certified tasks)."""
  config = data_config.get_config()
  config.update(dict(domains=('orders',), databases=4))
  config.env.prompt = 'full'
  config.llm_kw.mistakes.update(NEVER)
  context = context_lib.make(config_lib.read(config))
  streams = run_lib.plan(context, [0.5, 0.5], 4, 'test', {})
  drawn = [sample.draw(context, streams[i % 4], 'test', i).task
           for i in range(12)]
  return context.envs['orders'], [task for task in drawn if task]


def from_openai(m) -> types.Message:
  return types.Message(m['role'], m['content'], tuple(
      types.ToolCall(c['function']['name'],
                     json.loads(c['function']['arguments']), c['id'])
      for c in m.get('tool_calls', ())), id=m.get('tool_call_id', ''))


def run(gym, script, task):
  """A loop of one's own, whose agent knows no more than `info`; last step."""
  observation, info = gym.reset(options={'task_id': task.id})
  told, over = [{'role': 'system', 'content': info['system']}], False
  while not over:
    told += observation
    assert told == info['messages']
    said = script(task, [from_openai(m) for m in info['messages']])
    observation, reward, *ends, info = gym.step(said)
    told.append(info['messages'][len(told)])  # what was said, ids added
    assert told[-1]['role'] == 'assistant'
    over = any(ends)
  assert told + observation == info['messages']
  return reward, *ends, info


def same_as_play(env, tasks, pair, limits=LIMITS, side='assistant'):
  """The episodes, after making sure that both ways lead to them."""
  episodes = floors.run(env, tasks, pair, limits=limits)
  own, other = pair if side == 'assistant' else pair[::-1]
  gym = gym_lib.Gym(env, tasks, other, limits=limits, side=side)
  for task, episode in zip(tasks, episodes):
    reward, terminated, truncated, info = run(gym, own, task)
    assert info['episode'] == episode
    assert (reward, terminated) == (episode.reward, not truncated)
    assert truncated == (episode.ended in ('max_steps', 'too_many_errors'))
    assert (info['outcome'], info['score'], info['clauses'], info['ended']) == (
        episode.outcome, episode.score, episode.score.clauses, episode.ended)
  return episodes


@pytest.mark.parametrize('side', ['assistant', 'user'])
def test_gold_earns_one_from_either_side(orders, side):
  env, tasks = orders
  assert len(tasks) > 5
  episodes = same_as_play(env, tasks, floors.gold(env), side=side)
  assert [e.reward for e in episodes] == [1.0] * len(tasks)


@pytest.mark.parametrize('script', [floors.refuse, floors.transfer])
def test_floors_fail_as_they_do_there(orders, script):
  env, tasks = orders
  episodes = same_as_play(env, tasks, script(env))
  assert any(e.outcome != O.SUCCESS for e in episodes)


def test_a_limit_truncates_and_its_last_results_are_seen(orders):
  env, tasks = orders
  call = types.Message('assistant', None, (types.ToolCall('nope', {}),))
  pair = (lambda task, seen: call), floors.gold(env)[1]
  for limits, ended in [((30, 2), 'too_many_errors'), ((4, 9), 'max_steps')]:
    episode, *_ = same_as_play(env, tasks[:1], pair, dialogue.Limits(*limits))
    assert (episode.ended, episode.outcome) == (ended, O.AGENT_LIMIT)
    assert episode.messages[-1].role == 'tool'


def assert_same_in_threads(env, tasks, limits, count):
  agent, user = floors.gold(env)
  alone = floors.run(env, tasks, (agent, user), limits=limits)
  def work(_):
    gym = gym_lib.Gym(env, tasks, user, limits=limits)
    return [run(gym, agent, task)[-1]['episode'] for task in tasks]
  with futures.ThreadPoolExecutor(4) as pool:
    assert all(played == alone for played in pool.map(work, range(count)))


def test_threads_share_an_environment(orders):
  assert_same_in_threads(*orders, LIMITS, 8)


def test_dialogues_of_two_gyms_may_be_interleaved(orders):
  env, tasks = orders
  agent, user = floors.gold(env)
  gyms = [gym_lib.Gym(env, tasks, user, limits=LIMITS) for _ in tasks]
  infos = [gym.reset(options={'task_id': task.id})[1]
           for gym, task in zip(gyms, tasks)]
  while live := [i for i, info in enumerate(infos) if 'outcome' not in info]:
    for i in live:
      seen = [from_openai(m) for m in infos[i]['messages']]
      infos[i] = gyms[i].step(agent(tasks[i], seen))[-1]
  assert [info['outcome'] for info in infos] == [O.SUCCESS] * len(tasks)


@pytest.mark.parametrize('side', ['assistant', 'user'])
@pytest.mark.parametrize('style', ['full', 'brief'])
def test_the_prompt_is_that_of_play_and_has_its_tools_once(orders, side, style):
  _, tasks = orders
  env = env_load.load('orders', {'prompt': style})
  seen_by_other = []
  def other(task, seen):
    seen_by_other[:] = seen
    return types.Message('assistant', 'Hello.')
  _, info = gym_lib.Gym(env, tasks[:1], other, side=side).reset()
  asks = dialogue.play(env.start(tasks[0]), system={
      s: env.prompt(s, tasks[0]) for s in gym_lib.SIDES})
  _, prompt = next(asks).new[0]  # of the user, who speaks first
  if side == 'assistant':
    assert seen_by_other[0] == prompt
  prompt = env.prompt(side, tasks[0])
  assert info['messages'][0] == {'role': 'system', 'content': prompt.content}
  assert info['system'] == prompt.content
  assert info['tools'] == list(prompt.tools)
  assert bool(info['tools']) == (style == 'full' and side == 'assistant')
  assert json.dumps(info).count('"name": "cancel_order"') == bool(info['tools'])


# With the smallest environment there is.


class EchoEnv(testing.EchoEnv):
  """Shows its tools to both sides."""

  def prompt(self, side, task):
    return dataclasses.replace(super().prompt(side, task),
                               tools=self.tools(side, task))


def echo(user=None, words=('maple',), **kw):
  """`user`: what it says, in order."""
  said = user or ['Hello.', 'Go on.', 'Go on.', dialogue.STOP]
  return gym_lib.Gym(
      EchoEnv(), list(map(testing.echo_task, words)),
      lambda task, seen: types.Message('assistant', said[sum(
          m.role == 'assistant' for m in seen)]), **kw)


@pytest.mark.parametrize('action', [
    'The maple.', types.Message('assistant', 'The maple.'),
    [{'name': 'echo', 'arguments': {'text': 'Grüße'}}],
    [types.ToolCall('echo', {'text': 'Grüße'})]])
def test_each_form_of_an_action(action):
  gym = echo()
  observation, info = gym.reset()
  assert observation == [
      {'role': 'assistant', 'content': dialogue.GREETING.content},
      {'role': 'user', 'content': 'Hello.'}]
  assert (info['task_id'], info['tools'][0]['function']['name']) == (
      'say-maple', 'echo')
  observation, reward, terminated, truncated, info = gym.step(action)
  assert (reward, terminated, truncated) == (0.0, False, False)
  own = info['messages'][3]
  if isinstance(action, list):
    assert observation == [
        {'role': 'tool', 'content': 'Grüße', 'tool_call_id': '2.0'}]
    assert own['tool_calls'] == [{
        'id': '2.0', 'type': 'function', 'function': {
            'name': 'echo', 'arguments': '{"text": "Grüße"}'}}]
  else:
    assert own == {'role': 'assistant', 'content': 'The maple.'}


@pytest.mark.parametrize('action, match', [
    (3, 'An action is a text, .* got int'),
    (None, 'An action is a text, .* got NoneType'),
    (types.Message('tool', 'x'), "role 'assistant', got 'tool'"),
    ([{'name': 'echo'}], 'A tool call is .* got .*echo'),
    ([{'name': 'echo', 'arguments': '{}'}], 'A tool call is'),
    (['echo'], "A tool call is .* got 'echo'")])
def test_another_action_is_refused_and_changes_nothing(action, match):
  gym = echo()
  _, before = gym.reset()
  with pytest.raises(ValueError, match=match):
    gym.step(action)
  assert gym.step('x')[-1]['messages'][:3] == before['messages']


def test_it_must_be_reset_before_and_after():
  gym = echo(['Hello.', dialogue.STOP])
  with pytest.raises(ValueError, match=r'No dialogue .* call reset\(\)'):
    gym.step('x')
  gym.reset()
  assert gym.step('The maple.')[1:4] == (1.0, True, False)
  with pytest.raises(ValueError, match=r'over \(user_stop\): call reset\(\)'):
    gym.step('x')
  gym.reset()
  assert gym.step('x')[1:4] == (0.0, True, False)


def test_an_empty_action_is_the_agents_error():
  for action in ('', []):
    gym = echo()
    gym.reset()
    *_, terminated, truncated, info = gym.step(action)
    assert (info['ended'], terminated, truncated) == ('agent_error', True,
                                                      False)


@pytest.mark.parametrize('said, limit, ended', [
    (' ', 9, 'user_error'), (dialogue.STOP, 9, 'user_stop'),
    ('Hello.', 1, 'max_steps')])
def test_an_end_before_the_first_turn_is_told_by_the_first_step(
    said, limit, ended):
  gym = echo([said], limits=dialogue.Limits(max_steps=limit))
  observation, info = gym.reset()
  assert [m['content'] for m in observation] == [
      dialogue.GREETING.content, said]
  assert info['ended'] == ended
  observation, reward, terminated, truncated, again = gym.step('whatever')
  assert (observation, reward, again) == ([], 0.0, info)
  assert (terminated, truncated) == (limit > 1, limit == 1)
  assert info['trainable'] == (ended != 'user_error')


def test_a_task_is_drawn_by_the_seed_or_named():
  words = [f'word{i}' for i in range(20)]
  def drawn(gym, seed):
    return [gym.reset(seed=seed if i == 0 else None)[1]['task_id']
            for i in range(8)]
  assert drawn(echo(words=words), 1) == drawn(echo(words=words), 1)
  assert drawn(echo(words=words), 1) != drawn(echo(words=words), 2)
  assert len(set(drawn(echo(words=words), 1))) > 4
  gym = echo(words=words)
  assert gym.reset(options={'task_id': 'say-word7'})[1]['task_id'] == (
      'say-word7')
  with pytest.raises(ValueError, match="no task 'say-wrd7'.*'say-word7'"):
    gym.reset(options={'task_id': 'say-wrd7'})
  with pytest.raises(ValueError, match="no option 'task', only 'task_id'"):
    gym.reset(options={'task': 'say-word7'})


def test_wrong_arguments_are_named():
  with pytest.raises(ValueError, match="no side 'agent'"):
    echo(side='agent')
  with pytest.raises(ValueError, match='different ids, got 2 with 1'):
    echo(words=['maple', 'maple'])
  gym = gym_lib.Gym(testing.EchoEnv(), [testing.echo_task()], None)
  with pytest.raises(ValueError, match='other side of say-maple'):
    gym.reset()


def test_what_the_user_or_a_tool_raises_comes_through_and_ends_it():
  gym = gym_lib.Gym(testing.EchoEnv(), [testing.echo_task()],
                    lambda task, seen: 'Hello.')
  with pytest.raises(ValueError, match='must return a types.Message, got str'):
    gym.reset()
  gym = echo()
  gym.reset()
  with pytest.raises(env_lib.ToolBroken):
    gym.step([{'name': 'crash', 'arguments': {}}])
  with pytest.raises(ValueError, match='No dialogue'):
    gym.step('x')


def test_solo_needs_no_user(monkeypatch):
  monkeypatch.setattr(testing.EchoWorld, 'solo', True, raising=False)
  gym = gym_lib.Gym(testing.EchoEnv(), [testing.echo_task()], None)
  observation, info = gym.reset()
  assert observation == [] and len(info['messages']) == 1
  observation, *_ = gym.step([{'name': 'echo', 'arguments': {'text': 'a'}}])
  assert [m['content'] for m in observation] == ['a']
  *_, terminated, _, info = gym.step([{'name': 'done', 'arguments': {}}])
  assert terminated and info['ended'] == 'agent_stop'
  assert info['messages'][-1]['content'] == dialogue.STOP
  gym = gym_lib.Gym(testing.EchoEnv(), [testing.echo_task()], None,
                    side='user')
  with pytest.raises(ValueError, match='no user to learn'):
    gym.reset()


# The real benchmark.


def test_the_benchmark_ends_as_it_does_in_play():
  pytest.importorskip('tau2.domains.telecom',
                      reason='needs tau2-bench: pip install -e .[tau2]')
  env = env_load.load('tau2:telecom', {'prompt': 'brief'})
  tasks = env.tasks('small')[:4]
  limits = dialogue.Limits(max_steps=100)
  gold = same_as_play(env, tasks, floors.gold(env), limits)
  assert [e.reward for e in gold] == [1.0] * 4
  same_as_play(env, tasks, floors.gold(env), dialogue.Limits(max_steps=9))
  same_as_play(env, tasks, floors.transfer(env), limits)
  assert_same_in_threads(env, tasks, limits, 2)


def test_the_loop_of_the_documents_runs(capsys):
  pytest.importorskip('tau2.domains.telecom',
                      reason='needs tau2-bench: pip install -e .[tau2]')
  page = pathlib.Path(__file__).parents[2] / 'docs/training.md'
  loop, = re.findall(r'```python\n(.*?gym\.Gym.*?)```', page.read_text(), re.S)
  said = iter(['My phone is dead.', 'Bye. ###STOP###'])
  exec(loop, {  # pylint: disable=exec-used
      'user': lambda task, seen: types.Message('user', next(said)),
      'agent': lambda messages, tools: 'How can I help?'})
  assert capsys.readouterr().out.startswith('0.0 failure')
