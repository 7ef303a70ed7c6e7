"""Rows of SFT: the targets, and the history before each."""

import dataclasses

import numpy as np
import pytest

from agentrl import testing
from agentrl import types
from agentrl.data import episodes
from agentrl.envs import dialogue
from agentrl.sft import rows
from agentrl.stage import inputs
from agentrl.tokenizer import formats

M = types.Message
CALL = types.ToolCall('echo', {'text': 'a'})
DIALOGUE = [
    dialogue.GREETING, M('user', 'Hi', requestor='user', thinking='Own.'),
    M('assistant', 'So.', (CALL,), thinking='First.'), M('tool', 'a'),
    M('assistant', None, (CALL,), thinking='Second.'), M('tool', 'b'),
    M('assistant', 'ok', thinking='Third.'), M('user', 'more'),
    M('assistant', None, (CALL,)), M('tool', 'c'), M('assistant', 'That.'),
    M('user', 'bye'), M('assistant', 'Bye.', thinking=''),
    M('user', '###STOP###')]
OWN = (3, 5, 7, 9, 11, 13)  # places of the agent's turns in its view
HISTORY = {  # indices of turns that keep their thinking as the agent speaks
    'keep': ((3,), (3, 5), (3, 5, 7), (3, 5, 7), (3, 5, 7), (3, 5, 7, 13)),
    'template': ((3,), (3, 5), (3, 5, 7), (), (), (13,)),
    'strip': ((3,), (5,), (7,), (), (), (13,))}


@pytest.fixture(scope='module')
def vocab():
  pytest.importorskip('tokenizers')
  return testing.chatml_vocab()


def seen():
  return [m for _, m in dialogue.view(DIALOGUE, 'assistant',
                                      M('system', 'Be kind.'))]


@pytest.mark.parametrize('keeps, starts', [
    ('keep', [0]), ('template', [0, 9]), ('strip', [0, 5, 7, 9])])
def test_each_turn_is_a_target_once_after_the_history_it_had(
    vocab, keeps, starts):
  parts = rows.sequences(seen(), keeps)
  assert [first for _, first in parts] == starts
  items = [rows._item(vocab, *part) for part in parts]
  ends = [*starts[1:], len(seen())]
  for n, kept in zip(OWN, HISTORY[keeps]):
    had = [m if i in kept else formats.unthought(m)
           for i, m in enumerate(seen()[:n + 1])]
    head = formats.render_all(vocab, had[:-1])[0] + formats.opener(
        vocab, had[-2], quiet=had[-1].thinking == '')
    ids = formats.render_all(vocab, had)[0]
    which = next(k for k, end in enumerate(ends) if n < end)
    np.testing.assert_array_equal(items[which]['ids'][:len(ids)], ids)
    assert items[which]['target'][len(head):len(ids)].all()
    assert formats.parse(vocab, ids[len(head):]) == dataclasses.replace(
        had[-1], thinking=had[-1].thinking or None)
  targets = sum(item['target'].sum() for item in items)
  whole = formats.render_all(vocab, seen())[1]
  greeting = len(formats.render(vocab, dialogue.GREETING)[0]) - len(
      formats.opener(vocab))
  assert targets == whole.count(types.Author.SELF) - greeting


def test_what_the_other_side_thought_is_not_seen(vocab):
  assert [m.thinking for m in seen() if m.role == 'user'] == [None] * 4
  view = dialogue.view(DIALOGUE, 'user', M('system', 'You call.'))
  own, other = ([m.thinking for _, m in view if m.role == role]
                for role in ('assistant', 'user'))
  assert own == ['Own.', None, None, None] and not any(other)


def test_dialogues_keep_what_was_thought(vocab, tmp_path, monkeypatch):
  env = testing.EchoEnv()
  made = episodes.record(testing.echo_task(), DIALOGUE, {})
  episodes.write(tmp_path, [made])
  monkeypatch.setattr(episodes, 'check', lambda source: None)
  data = inputs.Input('data', '', tmp_path, digest='', manifest={})
  (_, messages), = episodes.read(data)
  assert list(messages) == DIALOGUE
  totals = {keeps: rows.packed(
      data, vocab, env, side='assistant', length=2048,
      history_thinking=keeps)['target_BT'].sum()
      for keeps in ('keep', 'template', 'strip')}
  assert len(set(totals.values())) == 1 and totals['keep'] > 200
