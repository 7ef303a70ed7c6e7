"""Solo mode against the package's own orchestrator, message for message."""

import dataclasses
import importlib
import json
import random

import pytest

from agentrl import types
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.envs import load as env_load

pytest.importorskip(
    'tau2.domains.telecom',
    reason='needs the real benchmark: pip install -e .[tau2]')

LOOK = types.ToolCall('check_network_status', {})  # a tool of the user's
FIND = types.ToolCall('get_customer_by_phone', {'phone_number': '555-123-2002'})
BAD = types.ToolCall('nope', {})
DONE = types.ToolCall('done', {})


MODULE = importlib.import_module('tau2.domains.telecom.environment')
TASKS = MODULE.get_tasks('small')
SOLO = env_load.load('tau2:telecom', {'solo': True})


def environment():
  """A fresh one, with a VPN of its own: `break_vpn` writes to a default."""
  env = MODULE.get_environment(solo_mode=True)
  vpn = env.user_tools.default_vpn_details.model_copy()
  vpn.server_performance = type(vpn.server_performance)('excellent')
  env.user_tools.default_vpn_details = vpn
  return env


def ours(package, raw, moves, limits):
  """(End, what the agent got to see before each of its moves)."""
  game = dialogue.play_solo(SOLO.start(SOLO.by_id(raw.id)), limits=limits,
                            system={'assistant': types.Message(
                                'system', 'policy')})
  seen, ask, moves = [], next(game), iter(moves)
  while True:
    seen.append([m.content for _, m in ask.new])
    try:
      ask = game.send(next(moves))
    except StopIteration as e:
      return e.value, seen


def theirs(package, raw, moves, limits):
  """(finished orchestrator, its messages, what its agent got to see)."""
  seen, moves, pkg = [], iter(moves), package.message

  class Agent(package.llm_agent.LLMSoloAgent):
    def get_init_state(self, message_history=None):
      return None
    def generate_next_message(self, message, state):
      move = next(moves)
      results = getattr(message, 'tool_messages', [message])
      seen.append([m.content if m else 'policy' for m in results])
      calls = [pkg.ToolCall(id=c.id, name=c.name, arguments=dict(c.arguments))
               for c in move.tool_calls]
      said = pkg.AssistantMessage(role='assistant', content=move.content,
                                  tool_calls=calls or None)
      # The base class does so with what its model has said.
      return (self._check_if_stop_toolcall(said) if calls else said), state

  env = environment()
  game = package.orchestrator.Orchestrator(
      'telecom', Agent([], '', raw), package.user_simulator.DummyUser(), env,
      raw, max_steps=limits.max_steps, max_errors=limits.max_errors,
      solo_mode=True)
  return game, game.run().messages, seen


def flat(m):
  """Of either kind of message all that must agree."""
  if m.role == 'tool':
    return m.role, m.content, m.id, m.requestor, m.error
  return m.role, m.content, [
      (c.id, c.name, dict(c.arguments), c.requestor)
      for c in m.tool_calls or ()]


def assert_agree(package, moves, limits=dialogue.Limits(), raw=None):
  """Plays by both, compares everything; our end."""
  raw = raw or TASKS[0]
  end, seen = ours(package, raw, moves, limits)
  game, messages, their_seen = theirs(package, raw, moves, limits)
  assert [flat(m) for m in end.messages] == [flat(m) for m in messages]
  assert end.reason == game.termination_reason.value
  assert (end.steps, end.errors) == (game.step_count, game.num_errors)
  assert seen == their_seen
  return end


def say(content, *calls):
  return types.Message('assistant', content, tuple(
      dataclasses.replace(c, id=f'call {i} {c.name}')
      for i, c in enumerate(calls)))


STOP = say('Solved. ###STOP###')


@pytest.mark.parametrize('moves, reason, steps', [
    ([say('Hello.')], 'agent_error', 0),
    ([say(None)], 'agent_error', 0),
    ([STOP], 'agent_stop', 0),
    ([say(None, DONE)], 'agent_stop', 0),
    ([say('###STOP###', LOOK)], 'agent_stop', 0),  # not executed
    ([say(None, LOOK), say('Hello.')], 'agent_error', 2),
    ([say(None, LOOK), say(dialogue.TRANSFER)], 'agent_error', 2),
    ([say(None, LOOK), STOP], 'agent_stop', 2),
    ([say(None, LOOK), say('So.', FIND, DONE)], 'agent_stop', 2),
    ([say('Aside.', LOOK, FIND), say(None, BAD), STOP], 'agent_stop', 4),
])
def test_each_end(package, moves, reason, steps):
  end = assert_agree(package, moves)
  assert (end.reason, end.steps) == (reason, steps)


def test_a_call_of_done_says_no_more_than_stop(package):
  end = assert_agree(package, [say(None, LOOK), say('So.', FIND, DONE)])
  assert end.messages[-1] == types.Message('assistant', dialogue.STOP)


@pytest.mark.parametrize('last, reason', [
    (STOP, 'agent_stop'), (say(None, DONE), 'agent_stop'),
    (say('Hello.'), 'agent_error')])
def test_a_limit_in_the_very_step_of_any_end_wins(package, last, reason):
  moves = [say(None, LOOK), last]
  for most, ended in [(2, 'max_steps'), (3, reason)]:
    limits = dialogue.Limits(max_steps=most)
    assert assert_agree(package, moves, limits).reason == ended


@pytest.mark.parametrize('first, reason', [
    (STOP, 'agent_stop'), (say('###STOP###', LOOK), 'agent_stop'),
    (say('Hello.'), 'agent_error')])
def test_but_no_limit_is_looked_at_after_the_very_first(package, first, reason):
  assert assert_agree(package, [first], dialogue.Limits(0, 0)).reason == reason


def test_limits_wait_while_the_environment_is_next(package):
  limits = dialogue.Limits(max_steps=2)
  end = assert_agree(package, [say(None, LOOK)] * 9, limits)
  assert (end.reason, end.steps) == ('max_steps', 3)
  assert end.messages[-1].role == 'tool'


def test_errors_count_and_win_over_steps(package):
  moves = [say(None, BAD, LOOK), say(None, BAD), STOP]
  for limits, reason in [((9, 2), 'too_many_errors'), ((9, 3), 'agent_stop'),
                         ((3, 2), 'too_many_errors')]:
    end = assert_agree(package, moves, dialogue.Limits(*limits))
    assert end.reason == reason


@pytest.mark.parametrize('last, match', [
    (say(None), 'must have either content or tool calls'),
    (say(' \n'), 'must have either content or tool calls'),
    (say('###STOP###', LOOK), 'should not receive the last message')])
def test_where_the_package_raises_it_is_the_agents_error(package, last, match):
  moves, raw = [say(None, LOOK), last], TASKS[0]
  for most in (2, 200):
    limits = dialogue.Limits(max_steps=most)
    with pytest.raises(ValueError, match=match):
      theirs(package, raw, moves, limits)
    end, _ = ours(package, raw, moves, limits)
    assert end.reason == 'agent_error'
    assert end.messages[-1].content == last.content


@pytest.mark.parametrize('seed', range(12))
def test_plays_like_the_packages_orchestrator(package, seed):
  """Tools of both sides, errors, many calls at once, text beside, limits."""
  rng = random.Random(seed)
  raw = rng.choice(TASKS)
  env = environment()
  names = [t.name for t in env.get_tools() + env.get_user_tools()]
  gold = [types.ToolCall(a.name, a.arguments)
          for a in raw.evaluation_criteria.actions]
  def move():
    blind = types.ToolCall(rng.choice(names), {})
    picks = rng.choices([*gold, FIND, BAD, blind], k=rng.choice([1, 1, 2, 3]))
    return say(rng.choice([None, None, 'Aside.']), *picks)
  moves = [move() for _ in range(rng.choice([0, 5, 20, 40]))]
  moves.append(rng.choice([STOP, say(None, DONE), say('Hello.')]))
  limits = dialogue.Limits(rng.choice([5, 20, 200]), rng.choice([2, 10, 99]))
  assert_agree(package, moves, limits, raw)


def test_prompt_and_tools_are_the_packages(package):
  for raw in TASKS[:2]:
    env, task = environment(), SOLO.by_id(raw.id)
    agent = package.llm_agent.LLMSoloAgent(
        env.get_tools() + env.get_user_tools(), env.get_policy(), raw)
    text, _, tools = env_lib.prompt_text(
        SOLO, 'assistant', task).partition('\n\n# Tools\n')
    assert text == agent.system_prompt
    assert tools.split('\n') == [json.dumps(t.openai_schema)
                                 for t in agent.tools]


def test_gold_calls_earn_one_in_both(package, monkeypatch):
  """The verdict on solo dialogues is the package's too."""
  monkeypatch.setattr(package.evaluator.registry, 'get_env_constructor',
                      lambda domain: MODULE.get_environment)
  for raw in TASKS[:5]:
    moves = [say(None, types.ToolCall(a.name, a.arguments, str(i)))
             for i, a in enumerate(raw.evaluation_criteria.actions)]
    for skipped, wanted in ((0, 1), (len(moves), 0)):
      game, _, _ = theirs(package, raw, [*moves[skipped:], say(None, DONE)],
                          dialogue.Limits())
      vpn = MODULE.TelecomUserTools.default_vpn_details
      vpn.server_performance = type(vpn.server_performance)('excellent')
      info = package.evaluator.evaluate_simulation(
          package.simulation.SimulationRun(
              id='', task_id=raw.id, start_time='', end_time='', duration=0,
              termination_reason='agent_stop', messages=game.trajectory),
          raw, package.evaluator.EvaluationType.ALL, True, 'telecom')
      task = SOLO.by_id(raw.id)
      world = SOLO.start(task)
      end = drive(dialogue.play_solo(world, system=dialogue.UNPROMPTED),
                  [*moves[skipped:], say(None, DONE)])
      score = SOLO.score(task, world, end.messages, end.reason)
      assert score.reward == info.reward == wanted


def drive(game, moves):
  next(game)
  for move in moves:
    try:
      game.send(move)
    except StopIteration as stop:
      return stop.value
  raise AssertionError('The dialogue has not ended.')
