"""Many dialogues at once: the right outcome for each, in order."""

import collections
import time

import numpy as np
import pytest

from agentrl import jsons
from agentrl import testing
from agentrl import types
from agentrl.envs import dialogue
from agentrl.rollout import engine as engine_lib
from agentrl.rollout import play as play_lib
from agentrl.rollout import policy as policy_lib

ENV = testing.EchoEnv()
VOCAB = testing.ByteVocab()
CONFIG = testing.tiny_model()
O = types.Outcome
M = types.Message


def play(tasks, agent, user, **kw):
  sides = {name: policy_lib.ScriptPolicy(x) if callable(x) else x
           for name, x in (('agent', agent), ('user', user))}
  kw.setdefault('seeds', range(len(tasks)))
  return play_lib.play(ENV, tasks, **sides, **kw)


def say(*texts):
  """A side that says these, one after the other."""
  def speak(task, messages):
    own = [m for m in messages if m.role == 'assistant']
    own = own[1:] if own and own[0] == dialogue.GREETING else own
    return M('assistant', texts[len(own)].format(task.scenario))
  return speak


def call(name, then='fine'):
  """An agent that calls a tool and then speaks."""
  def speak(task, messages):
    if messages[-1].role == 'tool':
      return M('assistant', then)
    return M('assistant', None, (types.ToolCall(name, {'text': 'hm'}),))
  return speak


def model(seed=0, **kw):
  sizes = dict(slots=3, length=224, stop_id=VOCAB.end, max_new=40,
               chunks=(32,))
  engine = engine_lib.Engine(CONFIG, **sizes | kw)
  engine.load(testing.chatty_params(CONFIG, seed=seed, stop=0.2))
  return policy_lib.ModelPolicy(engine, VOCAB)


class SlowPolicy(policy_lib.ScriptPolicy):
  """Must not be asked while it works."""

  working = False

  def ask(self, key, ask):
    assert not self.working
    super().ask(key, ask)

  def ready(self):
    self.working = True
    replies = super().ready()
    time.sleep(0.02)
    self.working = False
    return replies


def test_no_side_is_asked_while_it_works():
  episode, = play([testing.echo_task('maple')], say('maple', 'bye'),
                  SlowPolicy(say('{}!', dialogue.STOP)))
  assert episode.outcome == O.SUCCESS


def test_success_and_failure():
  tasks = [testing.echo_task('maple'), testing.echo_task('elm')]
  bar = collections.Counter()
  good, bad = play(tasks, say('maple', 'bye'), say('{}!', dialogue.STOP),
                   trials=[0, 3], progress=lambda n: bar.update(ended=n))
  assert (good.outcome, good.reward, good.note) == (O.SUCCESS, 1, '')
  assert (bad.outcome, bad.reward) == (O.FAILURE, 0)
  assert (bad.task_id, bad.trial, bad.ended) == ('say-elm', 3, 'user_stop')
  assert bad.note == 'the word is said'
  assert [m.content for m in good.messages] == [
      dialogue.GREETING.content, 'maple!', 'maple', dialogue.STOP]
  assert good.agent is good.user is None
  assert bar['ended'] == 2


def test_a_broken_tool_is_no_zero():
  episode, = play([testing.echo_task()], call('crash'), say('Do it.'))
  assert episode.outcome == O.TOOL_ERROR
  assert episode.note == 'The tool crash broke.'
  assert [m.role for m in episode.messages] == [
      'assistant', 'user', 'assistant']
  assert episode.messages[1].content == 'Do it.'
  assert episode.messages[2].tool_calls[0].name == 'crash'
  assert episode.steps == 2  # the user's words, the agent's call


def test_infrastructure_takes_down_one_dialogue_alone():
  def sometimes(task, messages):
    if task.scenario == 'elm':
      if messages[-1].role == 'tool':
        raise TimeoutError('no answer')
      return M('assistant', None, (types.ToolCall('echo', {'text': 'hm'}),))
    return M('assistant', task.scenario)
  tasks = [testing.echo_task(word) for word in ('oak', 'elm', 'fir')]
  oak, elm, fir = play(tasks, sometimes, say('Hi', dialogue.STOP))
  assert oak.outcome == fir.outcome == O.SUCCESS
  assert (elm.outcome, elm.note) == (O.INFRA, 'TimeoutError: no answer')
  assert [m.content for m in elm.messages] == [
      dialogue.GREETING.content, 'Hi', None, 'hm']
  assert elm.steps == 3  # the user's words, the agent's call, its result


def test_bugs_and_ctrl_c_pass_through_and_leave_no_slot_taken():
  def interrupt(task, messages):
    raise KeyboardInterrupt
  agent = model()
  for error, user in ((KeyboardInterrupt, interrupt), (IndexError, say('Hi'))):
    with pytest.raises(error):
      play([testing.echo_task()] * 5, agent, user)
    assert agent._engine.free == 3


def test_empty_turns_are_the_fault_of_who_sends_them():
  silent, = play([testing.echo_task()], say('maple'), say(' '))
  assert (silent.ended, silent.outcome) == ('user_error', O.USER_FAULT)
  silent, = play([testing.echo_task()], say(''), say('Hi'))
  assert (silent.ended, silent.outcome) == ('agent_error', O.FAILURE)


def test_a_turn_cut_off_by_a_limit():
  short = model(max_new=1)
  episode, = play([testing.echo_task()], short, say('Hi', 'So?'), seeds=[1])
  assert (episode.ended, episode.outcome) == ('agent_error', O.AGENT_LIMIT)
  assert episode.note == 'The assistant ran out of tokens.'
  assert episode.agent.sampled_T.sum() == 1
  episode, = play([testing.echo_task()], say('Hello'), short, seeds=[1])
  assert (episode.ended, episode.outcome) == ('user_error', O.USER_FAULT)
  assert episode.note == 'The user ran out of tokens.'
  tight = model(length=64)  # shorter than the system prompt
  episode, = play([testing.echo_task()], tight, say('Hi'))
  assert episode.outcome == O.AGENT_LIMIT
  assert episode.agent.ids_T.size == 0


def test_too_many_steps_and_errors():
  limits = dialogue.Limits(max_steps=7, max_errors=3)
  episode, = play([testing.echo_task()], call('nothing'),
                  say(*'abcdefgh'), limits=limits)
  assert (episode.ended, episode.outcome) == ('max_steps', O.AGENT_LIMIT)
  episode, = play([testing.echo_task()], call('nothing'), say(*'abcdefgh'),
                  limits=dialogue.Limits(max_errors=2))
  assert episode.ended == 'too_many_errors'


def same(a, b):
  assert jsons.dumps([e.messages for e in a]) == jsons.dumps(
      [e.messages for e in b])
  for x, y in zip(a, b):
    np.testing.assert_array_equal(x.agent.ids_T, y.agent.ids_T)
    np.testing.assert_allclose(x.agent.logp_T, y.agent.logp_T, atol=1e-4)


@pytest.mark.slow
def test_slots_and_company_change_nothing_and_samples_differ():
  tasks = [testing.echo_task(w) for w in ('oak', 'elm') for _ in range(5)]
  limits = dialogue.Limits(max_steps=6)
  wide = model(slots=10, width=8), model(1, slots=10, width=8)
  narrow = model(), model(1)
  once, = (play(tasks, *wide, limits=limits),)
  same(once, play(tasks, *wide, limits=limits))
  same(once, play(tasks, *narrow, limits=limits))
  same(once[7:], play(tasks[7:], *wide, limits=limits, seeds=range(7, 10)))
  # A constant seed would make the samples of a task one and the same.
  assert len({e.agent.ids_T.tobytes() for e in once[:5]}) == 5
  other = play(tasks[:1], *wide, limits=limits, seeds=[99])
  assert other[0].agent.ids_T.tobytes() != once[0].agent.ids_T.tobytes()


class Slow:
  """A policy that takes its time at each step, and may not be fed meanwhile."""

  def __init__(self, policy, seconds):
    self._policy, self._seconds, self._busy = policy, seconds, False

  def __getattr__(self, name):
    assert not self._busy, f'{name} was called in the middle of a step'
    return getattr(self._policy, name)

  def ready(self):
    self._busy = True
    time.sleep(self._seconds)
    try:
      return self._policy.ready()
    finally:
      self._busy = False


@pytest.mark.parametrize('agent_s, user_s', [(0.01, 0), (0, 0.01)])
def test_a_run_does_not_depend_on_which_side_is_slow(agent_s, user_s):
  tasks = [testing.echo_task(w) for w in ('oak', 'elm', 'fir') * 2]
  limits = dialogue.Limits(max_steps=6)
  plain = play(tasks, model(), model(1), limits=limits)
  slowed = play(tasks, Slow(model(), agent_s), Slow(model(1), user_s),
                limits=limits)
  assert jsons.dumps(slowed) == jsons.dumps(plain)


def test_misuse():
  with pytest.raises(ValueError, match='2 tasks, 1 seeds and 2 trials'):
    play([testing.echo_task()] * 2, say(), say(), seeds=[0])
  taken = model()
  for key in 'abc':
    assert taken.open(key, 0, None)
  with pytest.raises(RuntimeError, match='no free slot'):
    play([testing.echo_task()], taken, say('Hi'))
