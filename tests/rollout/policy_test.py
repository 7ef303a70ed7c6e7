"""What a model was fed and what it said, to the id."""

import numpy as np
import pytest

from agentrl import testing
from agentrl import types
from agentrl.envs import dialogue
from agentrl.rollout import engine as engine_lib
from agentrl.rollout import policy as policy_lib
from agentrl.tokenizer import chat

VOCAB = testing.ByteVocab()
CONFIG = testing.tiny_model()
TASK = testing.echo_task()
M = types.Message


@pytest.fixture(scope='module')
def shared():
  engine = engine_lib.Engine(
      CONFIG, slots=2, length=192, stop_id=VOCAB.end, max_new=64, chunks=(32,))
  engine.load(testing.chatty_params(CONFIG, stop=0.3))
  return policy_lib.ModelPolicy(engine, VOCAB)


@pytest.fixture
def policy(shared):
  assert shared.open(0, 3, TASK)
  yield shared
  shared.close(0)


def reply(policy):
  while True:
    for answer in policy.ready():
      return answer


def test_the_trace_is_what_was_fed_and_sampled(shared):
  assert shared.open(1, 5, TASK)
  news = (((-1, M('system', 'Be kind.')), (0, dialogue.GREETING),
           (1, M('user', 'Hi'))),
          ((3, M('tool', 'ok', id='2.0')),))
  said = []
  for new, index in zip(news, (2, 4)):
    shared.ask(1, dialogue.Ask('assistant', new, index))
    said.append(reply(shared))
  trace = shared.close(1)
  ids = [i for _, m in news[0] for i in chat.render(VOCAB, m)[0]]
  first = trace.ids_T[trace.turn_T == 2]
  second = trace.ids_T[trace.turn_T == 4]
  np.testing.assert_array_equal(trace.ids_T, np.concatenate([
      ids, first, chat.render(VOCAB, news[1][0][1])[0], second]))
  assert first[0] == second[0] == VOCAB.assistant
  for sampled_T, answer in zip((first[1:], second[1:]), said):
    assert chat.parse(VOCAB, sampled_T) == answer.message
    assert not answer.full and answer.key == 1
  # What was sampled, and nothing else, is its own and has a log-probability.
  # The greeting is in its voice, but was fed.
  np.testing.assert_array_equal(
      trace.sampled_T, np.isin(trace.turn_T, (2, 4)) & (
          trace.ids_T != VOCAB.assistant))
  np.testing.assert_array_equal(trace.sampled_T, trace.logp_T < 0)
  assert trace.author_T[trace.turn_T == -1][1] == types.Author.SYSTEM
  assert (trace.author_T[trace.turn_T == 0] == types.Author.TEMPLATE).all()
  assert [x.dtype for x in (trace.ids_T, trace.author_T, trace.logp_T,
                            trace.turn_T)] == [
      np.int32, np.int8, np.float32, np.int16]


def test_what_did_not_fit_was_never_read(policy):
  policy.ask(0, dialogue.Ask('user', ((0, M('user', 'x' * 20)),), 1))
  before = reply(policy)
  policy.ask(0, dialogue.Ask('user', ((2, M('user', 'x' * 200)),), 3))
  after = reply(policy)
  assert not before.full
  assert after.full and after.message == M('assistant')
  trace = policy._tokens[0].trace()
  assert set(trace.turn_T) == {0, 1}


def test_no_room(policy):
  assert policy.open(1, 0, TASK)
  assert not policy.open(2, 0, TASK)
  trace = policy.close(1)  # it never spoke
  assert trace.ids_T.size == 0


def test_a_script_sees_all_it_was_told_and_said():
  seen = []

  def speak(task, messages):
    seen.append([m.content for m in messages])
    return M('assistant', f'{task.scenario} {len(messages)}')
  policy = policy_lib.ScriptPolicy(speak)
  assert policy.open(4, 0, TASK)
  policy.ask(4, dialogue.Ask('user', ((-1, M('system', 's')),), 1))
  assert reply(policy).message.content == 'maple 1'
  policy.ask(4, dialogue.Ask('user', ((2, M('user', 'u')),), 3))
  assert reply(policy) == policy_lib.Reply(4, M('assistant', 'maple 3'))
  assert seen == [['s'], ['s', 'maple 1', 'u']]
  assert policy.close(4) is None


@pytest.mark.parametrize('error', [ConnectionError, TimeoutError])
def test_infrastructure_is_named_and_bugs_are_raised(error):
  def fail(kind, task, messages):
    raise kind('the service is away')
  policy = policy_lib.ScriptPolicy(lambda *a: fail(error, *a))
  policy.open(0, 0, TASK)
  policy.ask(0, dialogue.Ask('user', (), 1))
  assert reply(policy).fault == f'{error.__name__}: the service is away'
  policy = policy_lib.ScriptPolicy(lambda *a: fail(KeyError, *a))
  policy.open(0, 0, TASK)
  with pytest.raises(KeyError):
    policy.ask(0, dialogue.Ask('user', (), 1))
