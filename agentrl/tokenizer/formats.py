"""Messages <-> ids, in the markup that a vocabulary was made for.

A format is a module with `render`, `opener` and `parse`, with the signatures in
`chatml.py`; a new one is a line of `_FORMATS`.
Every message renders by itself, given the one before it, so the ids of a
longer dialogue begin with the ids of the shorter one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
import dataclasses
import pathlib
from typing import Any, get_args, Literal

from agentrl import types
from agentrl.tokenizer import chat
from agentrl.tokenizer import chatml
from agentrl.tokenizer import gemma
from agentrl.tokenizer import hf
from agentrl.tokenizer import spm
from agentrl.tokenizer import vocab as vocab_lib

# The earlier thinking that a model has before it: all; that since the other
# party last spoke, as in Qwen3's template; none, as in tau2-bench.
Keeps = Literal['keep', 'template', 'strip']

_FORMATS = {  # by the markup that opens a turn
    '<|assistant|>': chat,
    hf.START: chatml,
    spm.START: gemma,
}


def of(vocab: vocab_lib.AnyVocab) -> Any:
  """Returns the module of a vocabulary's format.

  Raises:
    ValueError: there is none.
  """
  for mark, module in _FORMATS.items():
    if mark in vocab.marks:
      return module
  raise ValueError('The vocabulary opens its turns with none of '
                   f'{", ".join(_FORMATS)}: there is no other format.')


def render(vocab: vocab_lib.AnyVocab, message: types.Message,
           after: types.Message | None = None) -> tuple[list[int], list[int]]:
  """Renders one message with its tools.

  Args:
    vocab: vocabulary of the model.
    message: message in the view of the model's side.
    after: the message before it; None if it is the first.

  Returns:
    (ids, authors).
  """
  return of(vocab).render(vocab, message, after=after, tools=message.tools)


def render_all(vocab: vocab_lib.AnyVocab, messages: Iterable[types.Message]
               ) -> tuple[list[int], list[int]]:
  """Renders a whole view; returns (ids, authors)."""
  ids, authors, after = [], [], None
  for message in messages:
    more_ids, more_authors = render(vocab, message, after)
    ids += more_ids
    authors += more_authors
    after = message
  return ids, authors


def check_keeps(keeps: str, vocab: vocab_lib.AnyVocab | None = None) -> None:
  """Checks `history_thinking`.

  Args:
    keeps: value of the field.
    vocab: vocabulary of the model; None: its format is not checked.

  Raises:
    ValueError: not one of `Keeps`, or without effect for this vocabulary.
  """
  if keeps not in get_args(Keeps):
    raise ValueError("history_thinking must be 'keep', 'template' or 'strip', "
                     f'got {keeps!r}.')
  if vocab and keeps != 'keep' and of(vocab) is not chatml:
    raise ValueError(f'history_thinking={keeps!r} has no effect: models of '
                     "this vocabulary's format do not think. Set it to "
                     "'keep'.")


def history(messages: Sequence[types.Message], keeps: Keeps
            ) -> list[types.Message]:
  """Drops thinking from the messages that a side has before it.

  Args:
    messages: messages of its view before its turn.
    keeps: thinking that is kept, see `Keeps`.
  """
  last = max((n for n, message in enumerate(messages)
              if message.role == 'user'), default=0)
  end = {'keep': 0, 'template': last, 'strip': len(messages)}[keeps]
  return [*map(unthought, messages[:end]), *messages[end:]]


def unthought(message: types.Message) -> types.Message:
  """Returns the message without its thinking."""
  if message.thinking is None:
    return message
  return dataclasses.replace(message, thinking=None)


def opener(vocab: vocab_lib.AnyVocab, after: types.Message | None = None, *,
           quiet: bool = False) -> list[int]:
  """Returns the ids that are fed before a side's own turn is sampled.

  Args:
    vocab: vocabulary of the model.
    after: the message before the turn; None if it is the first.
    quiet: keeps a model that can think from thinking.
  """
  return of(vocab).opener(vocab, after, quiet=quiet)


def parse(vocab: vocab_lib.AnyVocab, ids: Sequence[int]) -> types.Message:
  """Parses sampled ids into a message; an empty one if they are ill-formed."""
  return of(vocab).parse(vocab, ids)


def template(vocab: vocab_lib.AnyVocab) -> str | None:
  """Returns the format as a jinja chat template; None: it has none."""
  path = pathlib.Path(of(vocab).__file__).with_suffix('.j2')
  return path.read_text() if path.exists() else None
