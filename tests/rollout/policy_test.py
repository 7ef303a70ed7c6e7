"""What a model was fed and what it said, to the id."""

import dataclasses
import json

import jinja2
import numpy as np
import pytest

from agentrl import testing
from agentrl import types
from agentrl.envs import dialogue
from agentrl.rollout import engine as engine_lib
from agentrl.rollout import policy as policy_lib
from agentrl.rollout import slot as slot_lib
from agentrl.tokenizer import chat
from agentrl.tokenizer import chatml
from agentrl.tokenizer import formats

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


class ToldEngine:
  """Says what it is told to, and notes what it holds before each turn."""

  free = 1

  def __init__(self, turns):
    self._turns, self.held, self.before = list(turns), [], []

  def open(self, seed):
    return 0

  def feed(self, slot, ids):
    self.held = [*self.held, *map(int, ids)]
    self.before.append(self.held)

  def rewind(self, slot, length):
    self.held = self.held[:length]

  def step(self):
    ids = np.array(self._turns.pop(0), np.int32)
    self.held = [*self.held, *map(int, ids)]
    return [slot_lib.SampledTurn(0, ids, -np.ones(ids.size, np.float32), False)]

  def close(self, slot):
    pass


def thought(message):
  return dataclasses.replace(message, thinking='Hm.')


def test_thinking_is_not_in_the_history_where_it_is_stripped():
  """What is fed is the template of the history, tokenised as one string."""
  tokenizers = pytest.importorskip('tokenizers')
  vocab = testing.chatml_vocab()
  own = tokenizers.Tokenizer.from_str(vocab.proto.decode())
  call = M('assistant', 'So.', (types.ToolCall('echo', {'text': 'a'}),))
  turns = [chatml.render(vocab, thought(m))[0][len(chatml.opener(vocab)):]
           for m in (call, M('assistant', 'ok'))]
  engine = ToldEngine([*turns, turns[1]])
  policy = policy_lib.ModelPolicy(engine, vocab, history_thinking='strip')
  tools = ({'type': 'function', 'function': {'name': 'echo'}},)
  talk = [M('system', 'Be kind.', tools=tools), M('user', 'Hi'), call,
          M('tool', 'a'), M('assistant', 'ok'), M('user', 'bye')]
  policy.open(0, 0, TASK)
  for new, index in (((0, 1), 1), ((3,), 3), ((5,), 5)):
    policy.ask(0, dialogue.Ask(
        'assistant', tuple((i - 1, talk[i]) for i in new), index))
    assert reply(policy).message == thought(
        talk[index + 1 if index < 5 else 4])
  jinja = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
  jinja.filters['tojson'] = json.dumps
  template = jinja.from_string(formats.template(vocab))
  shown = lambda m: dict(role=m.role, content=m.content, tool_calls=[
      dict(name=c.name, arguments=dict(c.arguments)) for c in m.tool_calls])
  trace = policy.close(0)
  sequences = trace.sequences()
  for n, (end, said) in enumerate(((2, 0), (4, 1), (6, 1))):
    text = template.render(messages=list(map(shown, talk[:end])),
                           tools=tools, add_generation_prompt=True)
    ids = own.encode(text, add_special_tokens=False).ids
    assert engine.before[n] == ids
    np.testing.assert_array_equal(sequences[n].ids_T, [*ids, *turns[said]])
    assert sequences[n].sampled_T.sum() == len(turns[said])
  assert trace.sampled_T.sum() == sum(map(len, turns)) + len(turns[1])


def test_thinking_stays_until_the_other_party_speaks():
  """With `template` a round of calls and results is one sequence."""
  pytest.importorskip('tokenizers')
  vocab = testing.chatml_vocab()
  call = types.ToolCall('echo', {'text': 'a'})
  talk = [M('system', 'Be kind.'), M('user', 'Hi'),
          M('assistant', 'So.', (call,)), M('tool', 'a'), M('tool', 'b'),
          M('assistant', None, (call,)), M('tool', 'c'), M('assistant', 'ok'),
          M('user', 'more'), M('assistant', None, (call,)), M('tool', 'd'),
          M('assistant', 'bye')]
  talk = [thought(m) if m.role == 'assistant' else m for m in talk]
  own = [n for n, m in enumerate(talk) if m.role == 'assistant']
  turns = [chatml.render(vocab, talk[n])[0][len(chatml.opener(vocab)):]
           for n in own]
  engine = ToldEngine(turns)
  policy = policy_lib.ModelPolicy(engine, vocab, history_thinking='template')
  policy.open(0, 0, TASK)
  for start, n in zip([0, *(n + 1 for n in own)], own):
    policy.ask(0, dialogue.Ask('assistant', tuple(
        (i - 1, talk[i]) for i in range(start, n)), n))
    assert reply(policy).message == talk[n]
  for n, before in zip(own, engine.before):
    seen = formats.history(talk[:n], 'template')
    assert [m.thinking for m in seen if m.role == 'assistant'] == [
        None if n > 8 > i else 'Hm.' for i in own if i < n]
    assert before == formats.render_all(vocab, seen)[0] + chatml.opener(
        vocab, talk[n - 1])
  sequences = policy.close(0).sequences()
  assert [s.sampled_T.sum() for s in sequences] == [
      sum(map(len, turns[:3])), sum(map(len, turns[3:]))]
  for sequence, n, turn in zip(sequences, (2, 4), (turns[2], turns[4])):
    np.testing.assert_array_equal(
        sequence.ids_T, [*engine.before[n], *turn])


def test_another_history_of_thinking():
  with pytest.raises(ValueError, match="'template' or 'strip', got 'some'"):
    policy_lib.ModelPolicy(None, VOCAB, history_thinking='some')


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
  assert reply(policy) == policy_lib.PolicyReply(4, M('assistant', 'maple 3'))
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
