"""Vocabularies: text <-> ids, and the turn markup that text can never forge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
import hashlib
import io
import os
import pathlib

import sentencepiece

from agentrl import files
from agentrl.tokenizer import hf
from agentrl.tokenizer import spm

# In this order right after pad and unk. SentencePiece never gives a control
# symbol for text: markup in a user's text becomes ordinary pieces.
MARKUP = ('<|end|>', '<|system|>', '<|user|>', '<|assistant|>', '<|tool|>',
          '<|call|>', '<|arg|>', '<|val|>')
# Whole pieces, because dialogues end by them; plain text all the same.
WHOLE = ('###STOP###', '###TRANSFER###', '###OUT-OF-SCOPE###')


class Vocab:
  """A SentencePiece model with the turn markup as control symbols.

  Attributes:
    pad: id that is never fed as content nor sampled.
    end, system, user, assistant, tool, call, arg, val: ids of the markup.
    marks: these ids by their texts.
    size: number of ids.
    digest: hash of the model; models and data made with another vocabulary
      are refused.
  """

  pad = 0

  def __init__(self, proto: bytes):
    """Reads a serialised model.

    Raises:
      ValueError: not a SentencePiece model, or one without our markup.
    """
    self.proto = proto
    try:
      self._sp = sentencepiece.SentencePieceProcessor(model_proto=proto)
    except Exception as e:
      raise ValueError(f'Not a SentencePiece model: {e}') from e
    missing = [m for m in MARKUP if not self._sp.IsControl(
        self._sp.PieceToId(m))]
    if missing:
      raise ValueError(f'The vocabulary lacks the control symbols {missing}: '
                       'train it with agentrl.tokenizer.vocab.train.')
    (self.end, self.system, self.user, self.assistant, self.tool, self.call,
     self.arg, self.val) = map(self._sp.PieceToId, MARKUP)
    self.marks = {mark: self._sp.PieceToId(mark) for mark in MARKUP}
    self.size = len(self._sp)
    self.digest = hashlib.sha256(proto).hexdigest()[:16]
    self._markup = {*self.marks.values(), self.pad}

  def encode(self, text: str) -> list[int]:
    """Encodes a text into ids, never those of the markup."""
    return self._sp.EncodeAsIds(text)

  def decode(self, ids: Sequence[int]) -> str:
    """Decodes content ids into a text.

    Raises:
      ValueError: a control id is among them.
    """
    ids = [int(i) for i in ids]
    if bad := self._markup.intersection(ids):
      raise ValueError(f'Cannot decode control ids {sorted(bad)} as text.')
    return self._sp.DecodeIds(ids)

  def piece(self, i: int) -> str:
    """Shows one id: markup by name, a leading space as a space."""
    return self._sp.IdToPiece(int(i)).replace('\u2581', ' ')

  def is_markup(self, i: int) -> bool:
    return int(i) in self._markup

  def save(self, path: str | os.PathLike) -> None:
    files.write_bytes(path, self.proto)


AnyVocab = Vocab | hf.BpeVocab | spm.GemmaVocab


def load(path: str | os.PathLike) -> AnyVocab:
  """Reads a vocabulary: one of ours, a tokenizer.json, or Gemma's.

  Args:
    path: a file.

  Raises:
    ValueError: no such file, or not a vocabulary.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise ValueError(f'No vocabulary at {path}: run the tokenizer stage first, '
                     'or point config.tokenizer at its folder.')
  proto = path.read_bytes()
  if proto.startswith(b'{'):
    return hf.BpeVocab(proto)
  return spm.GemmaVocab(proto) if spm.START.encode() in proto else Vocab(proto)


def train(texts: Iterable[str], size: int) -> Vocab:
  """Trains a vocabulary of at most `size` pieces on texts.

  Bytes are the fallback, so every text can be written and read back exactly;
  nothing is normalised away.

  Source: byte-pair encoding, arXiv:1508.07909, by SentencePiece,
  arXiv:1808.06226.

  Args:
    texts: texts to learn from.
    size: most ids, markup and bytes included.
  """
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.Train(
      sentence_iterator=iter(texts), model_writer=model, vocab_size=size,
      model_type='bpe', byte_fallback=True, hard_vocab_limit=False,
      normalization_rule_name='identity', remove_extra_whitespaces=False,
      add_dummy_prefix=True, character_coverage=1.0, num_threads=2,
      control_symbols=list(MARKUP), user_defined_symbols=list(WHOLE),
      pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, minloglevel=2)
  return Vocab(model.getvalue())
