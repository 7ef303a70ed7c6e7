"""Each vocabulary is rendered in its own format, by one interface."""

import json

import pytest

from agentrl import testing
from agentrl import types
from agentrl.envs import env as env_lib
from agentrl.envs import load as env_load
from agentrl.tokenizer import chat
from agentrl.tokenizer import formats
from agentrl.tokenizer import vocab as vocab_lib

M = types.Message
TALK = [M('system', 'Be good.', tools=({'name': 'f'},)), M('user', 'hi'),
        M('assistant', None, (types.ToolCall('f', {'a': 1}),)),
        M('tool', 'done'), M('tool', 'too'), M('assistant', 'ok')]


@pytest.fixture(scope='module', params=['bytes', 'chatml'])
def vocab(request):
  if request.param == 'bytes':
    return testing.ByteVocab()
  pytest.importorskip('tokenizers')
  return testing.chatml_vocab()


def test_turn_by_turn_is_the_whole(vocab):
  whole, authors = formats.render_all(vocab, TALK)
  ids, after = [], None
  for message in TALK:
    head = formats.opener(vocab, after)
    new, _ = formats.render(vocab, message, after)
    if message.role == 'assistant':
      assert new[:len(head)] == head
      assert formats.parse(vocab, new[len(head):]) == message
    ids += new
    after = message
  assert ids == whole and len(authors) == len(ids)


@pytest.mark.parametrize('side', ['assistant', 'user'])
@pytest.mark.parametrize('domain', env_load.BUILT_IN)
def test_prompts_of_models_from_scratch_are_plain_text(domain, side):
  """To the byte: measurement hashes and older models hang on it."""
  vocab, task = testing.ByteVocab(), types.Task('t', domain, 'Cancel it.')
  for style in ('brief', 'full'):
    env = env_load.load(domain, dict(prompt=style))
    ids, _ = formats.render(vocab, env.prompt(side, task))
    text = env_lib.prompt_text(env, side, task)
    assert ids == [vocab.system, *vocab.encode(text), vocab.end]
    if style == 'full' and side == 'assistant':
      schemas = '\n'.join(map(json.dumps, env.tools(side, task)))
      assert text == f'{env.policy}\n\n# Tools\n{schemas}'


def test_tools_stand_where_chatml_has_them():
  pytest.importorskip('tokenizers')
  vocab = testing.chatml_vocab()
  env = env_load.load('orders')
  prompt = env.prompt('assistant', types.Task('t', 'orders', ''))
  text = vocab.decode([i for i in formats.render(vocab, prompt)[0]
                       if not vocab.is_markup(i)])
  assert text.startswith(f'system\n{env.policy}\n\n# Tools\n\nYou may call')
  assert text.count('"name": "cancel_order"') == 1


def test_a_file_says_which_kind_it_is(vocab, tmp_path):
  if isinstance(vocab, testing.ByteVocab):
    vocab = vocab_lib.train(['hello there'] * 9, 280)
    assert formats.of(vocab) is chat
  vocab.save(tmp_path / 'v')
  again = vocab_lib.load(tmp_path / 'v')
  assert type(again) is type(vocab) and again.digest == vocab.digest


def test_what_has_no_effect_on_thinking_is_refused(vocab):
  formats.check_keeps('keep', vocab)
  with pytest.raises(ValueError, match="must be 'keep', .* got 'some'"):
    formats.check_keeps('some', vocab)
  if isinstance(vocab, testing.ByteVocab):
    with pytest.raises(ValueError, match='has no effect'):
      formats.check_keeps('strip', vocab)
  else:
    formats.check_keeps('strip', vocab)


def test_an_unknown_format():
  vocab = testing.ByteVocab()
  vocab.marks = {'<|turn|>': 1}
  with pytest.raises(ValueError, match='opens its turns with none of'):
    formats.of(vocab)
