"""Vocabularies of published models as SentencePiece has them: Gemma's.

Same interface as `hf.Vocab`. Gemma's markup are pieces that text may give, so
its own tokenizer reads `<end_of_turn>` in what a user types as the end of the
turn. Here such pieces are made control symbols, to which no text encodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import hashlib
import os
import re

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as pb
from sentencepiece import sentencepiece_pb2 as pb_text

from agentrl import files

BOS, START, END = '<bos>', '<start_of_turn>', '<end_of_turn>'
PAD = '<pad>'
# Markup among the pieces that text may give; Gemma has tags of HTML there too.
MARK = re.compile(r'<((start|end)_of_\w+|bos|eos|pad|mask|unused\d+)>')
_Kind = pb.ModelProto.SentencePiece.Type


class Vocab:
  """A SentencePiece model with the markup of Gemma.

  Attributes:
    proto: the tokenizer.model.
    marks: id of each piece of markup, by its text.
    end: id that ends a turn.
    pad: id that is never fed as content nor sampled.
    size: number of ids, markup included; the embedding may have more rows.
    digest: hash of `proto`; what was made with one vocabulary is refused by
      another.
  """

  def __init__(self, proto: bytes):
    """Reads a serialised model.

    Raises:
      ValueError: not a SentencePiece model, or one without Gemma's markup.
    """
    self.proto = proto
    try:
      model = pb.ModelProto.FromString(proto)
      marks = {}
      for i, piece in enumerate(model.pieces):
        if _is_mark(piece):
          marks[piece.piece] = i
          if piece.type == _Kind.USER_DEFINED:
            piece.type = _Kind.CONTROL
      self._sp = sentencepiece.SentencePieceProcessor(
          model_proto=model.SerializeToString())
    except Exception as e:  # neither package raises anything more precise
      raise ValueError(f'Not a SentencePiece model: {e}') from e
    if missing := [m for m in (PAD, BOS, START, END) if m not in marks]:
      raise ValueError(f'The vocabulary has no {", ".join(missing)}: it is not '
                       'that of a Gemma made for dialogues.')
    self.marks: Mapping[str, int] = marks
    self.end, self.pad = marks[END], marks[PAD]
    self.size = len(self._sp)
    self.digest = hashlib.sha256(proto).hexdigest()[:16]
    self._markup = set(marks.values())

  def encode(self, text: str) -> list[int]:
    """Ids of a text; never one of the markup."""
    return self._sp.EncodeAsIds(text)

  def encode_parts(self, parts: Sequence[str]) -> tuple[list[int], list[int]]:
    """(ids, parts) of texts tokenised as one: an id may span two of them, and
    is said to be of that in which it ends."""
    part_of = [n for n, part in enumerate(parts) for _ in part.encode()]
    found = pb_text.SentencePieceText.FromString(
        self._sp.Encode(''.join(parts), out_type='serialized_proto')).pieces
    # Of the bytes of a character only the last is said to cover it.
    return ([piece.id for piece in found],
            [part_of[max(piece.begin, piece.end - 1)] for piece in found])

  def decode(self, ids: Sequence[int]) -> str:
    """Text of content ids.

    Raises:
      ValueError: markup is among them, or what is no id at all.
    """
    ids = [int(i) for i in ids]
    if bad := sorted({i for i in ids
                      if i in self._markup or not 0 <= i < self.size}):
      raise ValueError(f'Cannot decode control ids {bad} as text.')
    return self._sp.DecodeIds(ids)

  def piece(self, i: int) -> str:
    """One id for people: markup by name, a leading space as a space."""
    i = int(i)
    if not 0 <= i < self.size:
      return f'<|{i}|>'  # a spare row of the embedding
    return self._sp.IdToPiece(i).replace('\u2581', ' ')

  def is_markup(self, i: int) -> bool:
    return int(i) in self._markup

  def save(self, path: str | os.PathLike) -> None:
    files.write_bytes(path, self.proto)


def _is_mark(piece: pb.ModelProto.SentencePiece) -> bool:
  return piece.type in (_Kind.CONTROL, _Kind.UNKNOWN) or (
      piece.type == _Kind.USER_DEFINED and MARK.fullmatch(piece.piece)
      is not None)


def of_parts(tokens: Sequence[str], scores: Sequence[float],
             kinds: Sequence[int], *, add_prefix: bool) -> Vocab:
  """The vocabulary that a GGUF file spells out.

  Args:
    tokens: pieces.
    scores: of the pieces; which pair is merged first.
    kinds: of the pieces, in SentencePiece's numbers.
    add_prefix: text gets a space in front.

  Raises:
    ValueError: see `Vocab`.
  """
  model = pb.ModelProto()
  for token, score, kind in zip(tokens, scores, kinds, strict=True):
    model.pieces.add(piece=token, score=score, type=kind)
  model.trainer_spec.model_type = pb.TrainerSpec.BPE
  model.trainer_spec.byte_fallback = True
  model.normalizer_spec.name = 'identity'
  model.normalizer_spec.add_dummy_prefix = add_prefix
  model.normalizer_spec.remove_extra_whitespaces = False
  return Vocab(model.SerializeToString())
