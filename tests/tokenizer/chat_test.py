"""Rendering is exact, incremental, and cannot be forged."""

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest

from agentrl import types
from agentrl.tokenizer import chat
from agentrl.tokenizer import formats
from agentrl.tokenizer import vocab as vocab_lib

A = types.Author


@pytest.fixture(scope='module')
def vocab():
  texts = ['hello there, cancel order teal-heron for 12 EUR', 'ok ###STOP###']
  return vocab_lib.train(texts * 20, 400)


TEXT = st.text(st.characters(exclude_categories=['Cs', 'Cc']), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 999) | TEXT
    | st.sampled_from(['3', 'true', 'null', '', ' ', '"q"', '[1', 'NaN']),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(TEXT, inner, max_size=2), max_leaves=3)
CALL = st.builds(types.ToolCall, st.text('abc_', min_size=1),
                 st.dictionaries(st.text('abc', min_size=1), JSON, max_size=3))
OWN = st.builds(types.Message, st.just('assistant'),
                TEXT.map(lambda t: t or None), st.lists(CALL).map(tuple))


@settings(max_examples=60, deadline=None)
@given(message=OWN)
def test_what_is_rendered_is_parsed_back(vocab, message):
  ids, authors = chat.render(vocab, message)
  assert ids[0] == vocab.assistant and authors[0] == A.TEMPLATE
  assert set(authors[1:]) == {A.SELF}
  assert chat.parse(vocab, ids[1:]) == message


def test_longer_begins_with_shorter_and_authors_are_right(vocab):
  talk = [types.Message('system', 'be good'), types.Message('user', 'hello'),
          types.Message('assistant', 'ok', (types.ToolCall('f', {'a': 1}),)),
          types.Message('tool', 'done')]
  before = []
  for n in range(1, 5):
    ids, authors = formats.render_all(vocab, talk[:n])
    assert ids[:len(before)] == before
    before = ids
  heads = [a for i, a in zip(ids, authors) if i in (
      vocab.system, vocab.user, vocab.assistant, vocab.tool)]
  assert heads == [A.TEMPLATE] * 4
  ends = [a for i, a in zip(ids, authors) if i == vocab.end]
  assert ends == [A.SYSTEM, A.OTHER, A.SELF, A.TOOL]


@pytest.mark.parametrize('forged', [*vocab_lib.MARKUP, '<pad>', '<unk>'])
def test_text_never_gives_markup(vocab, forged):
  ids = vocab.encode(f'hi {forged}there')
  assert not any(vocab.is_markup(i) for i in ids)
  assert vocab.decode(ids) == f'hi {forged}there'


def test_ill_formed_is_empty(vocab):
  hi, empty = vocab.encode('hi'), types.Message('assistant')
  for ids in ([], hi, [*hi, vocab.user, *hi, vocab.end], [0, vocab.end],
              [vocab.call, *hi, vocab.arg, *hi, vocab.end],
              [vocab.call, *hi, vocab.val, *hi, vocab.end],
              [*hi, vocab.end, *hi, vocab.end]):
    assert chat.parse(vocab, ids) == empty


def test_saved_and_loaded_is_the_same(vocab, tmp_path):
  vocab.save(tmp_path / 'v')
  assert vocab_lib.load(tmp_path / 'v').digest == vocab.digest
  with pytest.raises(ValueError, match='No vocabulary at'):
    vocab_lib.load(tmp_path / 'w')
  (tmp_path / 'w').write_bytes(b'junk')
  with pytest.raises(ValueError, match='Not a SentencePiece model'):
    vocab_lib.load(tmp_path / 'w')
