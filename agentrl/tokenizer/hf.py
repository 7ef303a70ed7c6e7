"""Vocabularies of published models, from a tokenizer.json or a GGUF file.

Same interface as `vocab.Vocab`. A published vocabulary mixes its markup with
text: its own tokenizer reads `<|im_end|>` in a user's text as the end of the
turn. So two things are kept apart here: `encode` knows no markup at all, and
`marks` names the ids that only a renderer may write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import hashlib
import json
import os
import pathlib
import re
from typing import Any

from agentrl import files
from agentrl import resolve
from agentrl.tokenizer import spm

START, END = '<|im_start|>', '<|im_end|>'
# Markup within a turn. Some vocabularies have ids for it, for others it is
# ordinary text.
CALL, CALL_END = '<tool_call>', '</tool_call>'
RESULT, RESULT_END = '<tool_response>', '</tool_response>'
THINK, THINK_END = '<think>', '</think>'
INNER = (CALL, CALL_END, RESULT, RESULT_END, THINK, THINK_END)

_ENDS = (END, '<|eot_id|>', spm.END)
_PADS = ('<|endoftext|>', '<|finetune_right_pad_id|>', '<|end_of_text|>',
         '<pad>')

# Regex that cuts text into words before merging: that of Qwen2/2.5/3 and, with
# digits in threes, of Llama 3.
_WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s|"
          r' ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+')
_SENTENCEPIECE = 'llama'  # the kind of such a vocabulary in GGUF files
_BYTES = {'type': 'ByteLevel', 'add_prefix_space': False, 'trim_offsets': True}


def _cut_by(regex: str) -> dict[str, Any]:
  split = {'type': 'Split', 'pattern': {'Regex': regex},
           'behavior': 'Isolated', 'invert': False}
  return {'type': 'Sequence',
          'pretokenizers': [split, {**_BYTES, 'use_regex': False}]}


_PRE = {  # parts of a tokenizer.json, by the name that GGUF files give them
    'smollm': dict(pre_tokenizer={'type': 'Sequence', 'pretokenizers': [
        {'type': 'Digits', 'individual_digits': True},
        {**_BYTES, 'use_regex': True}]}),
    'qwen2': dict(normalizer={'type': 'NFC'},
                  pre_tokenizer=_cut_by(_WORDS % r'\p{N}')),
    'llama-bpe': dict(pre_tokenizer=_cut_by(_WORDS % r'\p{N}{1,3}'),
                      ignore_merges=True),
}


class BpeVocab:
  """A byte-level or SentencePiece-like BPE in the format of tokenizer.json.

  Attributes:
    proto: bytes of the tokenizer.json.
    marks: id of each piece of markup, by its text.
    end: id that ends a turn.
    pad: id that is never fed as content nor sampled.
    size: number of ids, markup included; the embedding may have more rows.
    digest: hash of `proto`; models and data made with another vocabulary are
      refused.
  """

  def __init__(self, proto: bytes):
    """Reads a tokenizer.json.

    Raises:
      ValueError: not a tokenizer.json, not a BPE, or no markup for turns.
    """
    self.proto = proto
    try:
      spec = json.loads(proto)
      model, added = spec['model'], spec['added_tokens']
      ids = model['vocab'] | {t['content']: t['id'] for t in added}
    except (ValueError, KeyError, TypeError) as e:
      raise ValueError(
          'Not a tokenizer.json with a BPE model (Unigram and WordPiece are '
          f'not read): {type(e).__name__} {e}.') from e
    self.marks: Mapping[str, int] = {
        t['content']: t['id'] for t in added if _is_mark(t)}
    self.end = self._first_mark(_ENDS, 'that ends a turn')
    self.pad = self._first_mark(_PADS, 'to pad with')
    self.size = max(ids.values()) + 1
    self.digest = hashlib.sha256(proto).hexdigest()[:16]
    self._mark_of = {i: mark for mark, i in self.marks.items()}
    self._bare = _bare(spec, ids, self.marks)

  def _first_mark(self, names: Sequence[str], purpose: str) -> int:
    for name in names:
      if name in self.marks:
        return self.marks[name]
    raise ValueError(f'The vocabulary has no token {purpose}, which is one of '
                     f'{", ".join(names)}: is it of a chat model?')

  def encode(self, text: str) -> list[int]:
    """Encodes a text into ids, never those of the markup. A byte that the
    vocabulary lacks (SmolLM2: some control characters, planes above 3) gives
    none."""
    return self._bare.encode(text, add_special_tokens=False).ids

  def encode_parts(self, parts: Sequence[str]) -> tuple[list[int], list[int]]:
    """Encodes texts as one, and tells the text that each id belongs to.

    Args:
      parts: texts.

    Returns:
      (ids, index of a text for each id). An id that spans several texts
      belongs to the one in which it ends.
    """
    encoding = self._bare.encode(''.join(parts), add_special_tokens=False)
    part_of = [n for n, part in enumerate(parts) for _ in part]
    return encoding.ids, [part_of[end - 1] for _, end in encoding.offsets]

  def decode(self, ids: Sequence[int]) -> str:
    """Decodes content ids into a text.

    Raises:
      ValueError: one of them is markup, or no id at all.
    """
    ids = [int(i) for i in ids]
    if bad := sorted({i for i in ids if i in self._mark_of
                      or self._bare.id_to_token(i) is None}):
      raise ValueError(f'Cannot decode control ids {bad} as text.')
    return self._bare.decode(ids, skip_special_tokens=False)

  def piece(self, i: int) -> str:
    """Shows one id: markup by name, a leading space as a space."""
    i = int(i)
    token = self._mark_of.get(i) or self._bare.id_to_token(i)
    if token is None:
      return f'<|{i}|>'  # a spare row of the embedding
    if i in self._mark_of or token.startswith('\u2581'):
      return token.replace('\u2581', ' ')
    return self._bare.decode([i], skip_special_tokens=False)

  def is_markup(self, i: int) -> bool:
    return int(i) in self._mark_of

  def save(self, path: str | os.PathLike) -> None:
    files.write_bytes(path, self.proto)


def _is_mark(token: Mapping[str, Any]) -> bool:
  """Tells whether an added token is markup, and not just a piece of text of
  its own (Gemma has such for runs of white space)."""
  content = token['content']
  return (token['special'] or content in INNER
          or re.fullmatch(r'<\|.*\|>', content) is not None
          or spm.MARK.fullmatch(content) is not None)


def _bare(spec: Mapping[str, Any], ids: Mapping[str, int],
          marks: Mapping[str, int]) -> Any:
  """Makes the tokenizer of plain text, which knows no markup."""
  model = spec['model']
  kept = {token: i for token, i in ids.items()
          if token not in marks or token == model.get('unk_token')}
  added = [t for t in spec['added_tokens'] if t['content'] not in marks]
  bare = {**spec, 'added_tokens': added, 'model': {**model, 'vocab': kept},
          'post_processor': None, 'truncation': None, 'padding': None}
  tokenizers = resolve.extra('tokenizers', 'hf')
  try:
    return tokenizers.Tokenizer.from_str(json.dumps(bare))
  except Exception as e:  # the package raises nothing more precise
    raise ValueError(f'Not a tokenizer.json that can be used: {e}') from e


PublishedVocab = BpeVocab | spm.GemmaVocab


def read(path: str | os.PathLike) -> PublishedVocab:
  """Reads the vocabulary of a published model.

  Args:
    path: a tokenizer.json, a tokenizer.model, a GGUF file, or a folder with
      one of them.

  Raises:
    ValueError: there is none, or it cannot be read.
  """
  path = pathlib.Path(path)
  if path.is_dir():
    inside = [path / 'tokenizer.json', path / 'tokenizer.model',
              *sorted(path.glob('*.gguf'))]
    path = next((p for p in inside if p.is_file()), inside[0])
  if not path.is_file():
    raise ValueError(f'No vocabulary at {path}: give a tokenizer.json, a '
                     'tokenizer.model, a GGUF file, or a folder that holds one '
                     'of them.')
  if path.suffix == '.gguf':
    return from_gguf(path)
  kind = spm.GemmaVocab if path.suffix == '.model' else BpeVocab
  return kind(path.read_bytes())


def from_gguf(path: str | os.PathLike) -> PublishedVocab:
  """Reads the vocabulary inside a GGUF file.

  Args:
    path: a GGUF file.

  Raises:
    ValueError: not a GGUF file, no vocabulary in it, or one of a kind that is
      not read.
  """
  gguf = resolve.extra('gguf', 'hf')
  try:
    fields = gguf.GGUFReader(path).fields
    get = lambda name: fields[f'tokenizer.ggml.{name}'].contents()
    kind, tokens, token_types = get('model'), get('tokens'), get('token_type')
    rest = [get(name) for name in (
        ('scores',) if kind == _SENTENCEPIECE else ('merges', 'pre'))]
    prefix = fields.get('tokenizer.ggml.add_space_prefix')
  except KeyError as e:
    raise ValueError(f'{path} holds no BPE vocabulary ({e} is missing): use '
                     'the model\'s tokenizer.json.') from e
  except (ValueError, IndexError, OSError) as e:
    raise ValueError(f'{path} is not a whole GGUF file: {e}') from e
  if kind == _SENTENCEPIECE:
    return spm.of_parts(tokens, *rest, token_types,
                        add_prefix=prefix is None or prefix.contents())
  merges, pre = rest
  if kind != 'gpt2' or pre not in _PRE:
    raise ValueError(
        f'{path} has a vocabulary of kind {kind!r}, cut by {pre!r}; read are '
        f'those of kind {_SENTENCEPIECE}, and of kind gpt2 cut by '
        f'{", ".join(_PRE)}. Use the model\'s tokenizer.json.')
  return BpeVocab(json.dumps(
      _spec(tokens, [gguf.TokenType(t).name for t in token_types], merges,
            pre), ensure_ascii=False).encode())


def _spec(tokens: Sequence[str], kinds: Sequence[str],
          merges: Sequence[str], pre: str) -> dict[str, Any]:
  """Makes a tokenizer.json of the parts of a GGUF vocabulary."""
  parts = {'normalizer': None, 'ignore_merges': False, **_PRE[pre]}
  used = [(i, token, kind) for i, (token, kind) in
          enumerate(zip(tokens, kinds, strict=True)) if kind != 'UNUSED']
  added = [
      dict(id=i, content=token, single_word=False, lstrip=False, rstrip=False,
           normalized=False, special=kind == 'CONTROL')
      for i, token, kind in used if kind in ('CONTROL', 'USER_DEFINED')]
  model = dict(
      type='BPE', dropout=None, unk_token=None, continuing_subword_prefix=None,
      end_of_word_suffix=None, fuse_unk=False, byte_fallback=False,
      ignore_merges=parts['ignore_merges'],
      vocab={token: i for i, token, _ in used},
      merges=[merge.split(' ', 1) for merge in merges])
  return dict(
      version='1.0', truncation=None, padding=None, added_tokens=added,
      normalizer=parts['normalizer'], pre_tokenizer=parts['pre_tokenizer'],
      post_processor=None, decoder={**_BYTES, 'use_regex': True}, model=model)
