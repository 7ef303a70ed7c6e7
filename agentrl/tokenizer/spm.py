"""Gemma's vocabularies, in SentencePiece's format.

Same interface as `hf.BpeVocab`. Gemma's markup are pieces that text may give,
so its own tokenizer reads `<end_of_turn>` in a user's text as the end of the
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


class GemmaVocab:
  """A SentencePiece model with the markup of Gemma.

  Attributes:
    proto: bytes of the tokenizer.model.
    marks: id of each piece of markup, by its text.
    end: id that ends a turn.
    pad: id that is never fed as content nor sampled.
    size: number of ids, markup included; the embedding may have more rows.
    digest: hash of `proto`; models and data made with another vocabulary are
      refused.
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
    """Encodes a text into ids, never those of the markup."""
    return self._sp.EncodeAsIds(text)

  def encode_parts(self, parts: Sequence[str]) -> tuple[list[int], list[int]]:
    """Encodes texts as one, and tells the text that each id belongs to.

    Args:
      parts: texts.

    Returns:
      (ids, index of a text for each id). An id that spans several texts
      belongs to the one in which it ends.
    """
    part_of = [n for n, part in enumerate(parts) for _ in part.encode()]
    pieces = pb_text.SentencePieceText.FromString(
        self._sp.Encode(''.join(parts), out_type='serialized_proto')).pieces
    # Of the pieces of one character only the last has its bytes.
    return ([piece.id for piece in pieces],
            [part_of[max(piece.begin, piece.end - 1)] for piece in pieces])

  def decode(self, ids: Sequence[int]) -> str:
    """Decodes content ids into a text.

    Raises:
      ValueError: one of them is markup, or no id at all.
    """
    ids = [int(i) for i in ids]
    if bad := sorted({i for i in ids
                      if i in self._markup or not 0 <= i < self.size}):
      raise ValueError(f'Cannot decode control ids {bad} as text.')
    return self._sp.DecodeIds(ids)

  def piece(self, i: int) -> str:
    """Shows one id: markup by name, a leading space as a space."""
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
             kinds: Sequence[int], *, add_prefix: bool) -> GemmaVocab:
  """Makes a vocabulary of the parts that a GGUF file lists.

  Args:
    tokens: texts of the pieces.
    scores: score of each piece; the pair with the highest is merged first.
    kinds: type of each piece, in SentencePiece's numbers.
    add_prefix: a space is put in front of a text.

  Raises:
    ValueError: see `GemmaVocab`.
  """
  model = pb.ModelProto()
  for token, score, kind in zip(tokens, scores, kinds, strict=True):
    model.pieces.add(piece=token, score=score, type=kind)
  model.trainer_spec.model_type = pb.TrainerSpec.BPE
  model.trainer_spec.byte_fallback = True
  model.normalizer_spec.name = 'identity'
  model.normalizer_spec.add_dummy_prefix = add_prefix
  model.normalizer_spec.remove_extra_whitespaces = False
  return GemmaVocab(model.SerializeToString())
