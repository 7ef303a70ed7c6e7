"""A model as a writer: what it says hangs on the question and seed alone."""

from concurrent import futures

import numpy as np
import pytest

from agentrl import testing
from agentrl import types
from agentrl.rollout import local as local_lib
from agentrl.rollout import slot as slot_lib
from agentrl.stage import bundles

VOCAB = testing.ByteVocab()
CONFIG = testing.tiny_model()
M = types.Message
CHATS = [[M('system', f'You are helper {i}.'), M('user', 'Hi! ' * i)]
         for i in range(1, 7)]


@pytest.fixture
def make(monkeypatch):
  def load(weights, mesh, field, changes):
    params = testing.chatty_params(CONFIG, stop=0.3)
    return bundles.Bundle(CONFIG, VOCAB, params, 'digest')
  monkeypatch.setattr(bundles, 'read', load)
  return lambda **kw: local_lib.Local('here', **{**dict(
      slots=4, length=192, max_tokens=32), **kw})


def ask(local, i, **kw):
  return local.complete(CHATS[i], seed=2**40 + i, **kw)


def test_answers_hang_on_question_and_seed_alone(make):
  alone = [ask(make(slots=1), i) for i in range(6)]
  local = make()
  with futures.ThreadPoolExecutor(6) as pool:
    together = list(pool.map(lambda i: ask(local, i), range(6)))
  again = [ask(local, i) for i in (3, 1, 5)]
  assert together == alone
  assert again == [alone[i] for i in (3, 1, 5)]
  assert len({r.message.content for r in alone}) > 3


def test_a_chat_that_goes_on_reads_only_what_is_new(make, monkeypatch):
  local = make()
  first = [M('system', 'Be kind to everybody who writes.' * 3), M('user', 'Hi')]
  reply = local.complete(first, seed=1)
  copied = []
  plain = local._engine._copy
  monkeypatch.setattr(local._engine, '_copy',
                      lambda pairs: (copied.extend(pairs), plain(pairs)))
  local.complete([*first, reply.message, M('user', 'And?')], seed=1)
  (_, _, count), = copied
  assert count >= 96  # of the first question, in blocks of 32


def test_a_schema_is_stated_and_what_it_cost_is_said(make):
  plain, told = ask(make(), 0), ask(make(), 0, schema={'type': 'object'})
  text = 'Answer with JSON of this schema, and with nothing else: '
  assert told.usage.prompt_tokens - plain.usage.prompt_tokens == (
      len(f'\n\n{text}{{"type": "object"}}'))
  assert plain.usage.calls == 1 and plain.usage.completion_tokens > 0


def test_an_answer_and_a_chat_that_are_too_long_are_told_apart(make):
  usage = ask(make(), 2).usage
  read, said = usage.prompt_tokens, usage.completion_tokens
  cut = ask(make(max_tokens=said - 1), 2)
  assert (cut.end, cut.problem) == ('truncated', '')
  assert len(cut.message.content) == said - 1  # what there is of it is shown
  for length, left in ((read + said - 1, said - 1), (read, 0), (16, 0)):
    full = ask(make(length=length), 2)
    assert full.end == 'no room'
    assert full.problem == (
        f'{read} tokens of a chat leave {left} of {length} for the answer.')


def test_what_cannot_be_read_is_shown_as_text(make):
  local = make()
  ids = np.array([*VOCAB.encode('Hm'), VOCAB.user, *VOCAB.encode('!'),
                  VOCAB.end])
  reply = local._reply(9, slot_lib.SampledTurn(0, ids, ids * 0.0, False))
  assert (reply.message.content, reply.end, reply.problem) == (
      'Hm<|user|>!', 'stop', 'It cannot be read.')


def test_longer_than_the_model_is_an_error(make):
  with pytest.raises(ValueError, match='length=9999 is beyond'):
    make(length=9999)
