"""Telecom dialogues beyond the base tasks: the full set, personas, policy."""

import collections
import dataclasses
import random

import pytest

from agentrl import types
from agentrl.eigendata.tau2.telecom import agent
from agentrl.eigendata.tau2.telecom import user
from agentrl.envs import load as env_load

pytest.importorskip(
    'tau2.domains.telecom',
    reason='needs the real benchmark: pip install -e .[tau2]')

LOOKS = ('check_', 'get_', 'run_', 'can_')  # how tools that read are named
WHYS = {item.why for item in user.FIXES.values() if item.why}


@pytest.fixture(scope='module')
def env():
  return env_load.load('tau2:telecom', {'prompt': 'brief'})


@pytest.fixture(scope='module')
def others(env):
  """Tasks of the full set that are not in base."""
  base = {t.id for t in env.tasks('base')}
  return [t for t in env.tasks('full') if t.id not in base]


def played(env, task, seed=0, prepare=lambda phone: None):
  chat = agent.TelecomDialogue(env, task, random.Random(seed))
  prepare(chat.world.environment.user_tools)
  agent.solve(chat)
  return chat


def passed(env, chat):
  return env.score(chat.task, chat.world, chat.end.messages,
                   chat.end.reason).reward == 1


def said(chat, role):
  return [m.content for m in chat.end.messages if m.role == role and m.has_text]


def called(chat):
  return [c.name for m in chat.end.messages for c in m.tool_calls]


def changes(names):
  return collections.Counter(n for n in names if not n.startswith(LOOKS))


def after_gold(env, task):
  """The state that the gold actions lead to."""
  world = env.start(task)
  for a in task.criteria.actions:
    world.execute([types.ToolCall(a.name, a.arguments, requestor=a.requestor)])
  return state(world)


def state(world):
  return (world.environment.get_db_hash(),
          world.environment.get_user_db_hash())


def test_other_tasks_of_the_full_set_pass_with_nothing_done_in_excess(
    env, others):
  assert len(others) == 2171
  few = [t for t in others if t.id.startswith('[service_issue]')]  # of 18
  for task in random.Random(0).sample(others, 50) + few[::2]:
    chat = played(env, task)
    assert passed(env, chat), task.id
    if task.kind == 'do':  # before a transfer, the agent tries what it may
      assert state(chat.world) == after_gold(env, task), task.id
      gold = [a.name for a in task.criteria.actions]
      assert changes(called(chat)) == changes(gold), task.id
    texts = said(chat, 'user') + said(chat, 'assistant')
    assert max(len(text.split()) for text in texts) <= 20
    assert len(chat.end.messages) < 80


def test_only_a_slow_vpn_is_disconnected(env, others):
  task = next(t for t in others if t.families == (
      'bad_network_preference', 'data_saver_mode_on'))
  chat = played(env, task, prepare=lambda phone: phone.connect_vpn())
  assert 'the VPN is on.' in ' '.join(said(chat, 'user'))
  assert passed(env, chat) and 'disconnect_vpn' not in called(chat)
  task = next(t for t in others if 'bad_vpn' in t.families)
  assert 'disconnect_vpn' in called(played(env, task))


def test_used_up_data_leaves_the_choice_of_another_plan(env, others):
  task = next(t for t in others if 'data_usage_exceeded' in t.families)
  for seed in range(4):
    asked, = (text for text in said(played(env, task, seed), 'assistant')
              if 'used up' in text)
    assert 'plan' in asked and '2 GB' in asked and '$2' in asked


def test_the_persona_changes_words_and_an_uneasy_user_asks_why(env, others):
  task = max((t for t in others if t.id.endswith('[PERSONA:None]')),
             key=lambda t: len(t.families))
  asked, words = {}, {}
  for name in ('None', 'Easy', 'Hard'):
    same = dataclasses.replace(task, id=task.id.replace('None', name))
    chats = [played(env, same, seed) for seed in range(6)]
    assert all(passed(env, chat) for chat in chats)
    answers = [[text for text in said(chat, 'assistant')
                if any(why in text for why in WHYS)] for chat in chats]
    assert max(map(len, answers)) <= 1
    asked[name] = any(answers)
    words[name] = {text for chat in chats for text in said(chat, 'user')}
  assert asked == {'None': False, 'Easy': False, 'Hard': True}
  assert words['Easy'] - words['None'] and words['Hard'] - words['None']
