r"""Messages <-> ids as Gemma 3 has them.

    <bos><start_of_turn>user\n (system (\n\n tools)? \n\n)? text <end_of_turn>\n
    <start_of_turn>model\n text?
        (\n<tool_call>\n {"name": .., "arguments": {..}} \n</tool_call>)*
        <end_of_turn>\n
    <start_of_turn>user
        (\n<tool_response>\n text \n</tool_response>)+ <end_of_turn>\n

Of the models' own template are the turns and their names, `<bos>`, the system
text in front of the first user's, and that both sides' texts are trimmed. It
knows no tools: the block that describes them, calls and results are those of
`chatml`, put into such turns by us. So is a model that speaks first, right
after the system text, or a party that speaks twice, which the template refuses.

The ids are those of the whole dialogue tokenised as one string, with the
exceptions that `chatml` names; and line breaks before the two that follow a
system text stay apart from them. The ids of a longer dialogue begin with the
ids of the shorter one: the ends of a system text and of a turn of tool results
are written by what comes `after`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from agentrl import types
from agentrl.tokenizer import chatml
from agentrl.tokenizer import hf
from agentrl.tokenizer import spm

A = types.Author
Piece = chatml.Piece
Vocab = hf.Vocab | spm.Vocab


def render(vocab: Vocab, message: types.Message, *,
           after: types.Message | None = None,
           tools: Sequence[Mapping[str, Any]] = ()
           ) -> tuple[list[int], list[int]]:
  """(ids, authors) of one message.

  Args:
    vocab: of the model.
    message: in the view of the side whose model it is.
    after: the message before it; None if it is the first.
    tools: OpenAI schemas, put into a system message. Its content None is for
      a dialogue without system prompt of its own.

  Raises:
    ValueError: tools in a message of another role, a system message that is
      not the first, or a vocabulary that is not Gemma's.
  """
  chatml.check_tools(message, tools)
  text = message.content or ''
  match message.role:
    case 'assistant':
      own = dataclasses.replace(message, content=text.strip(),
                                thinking=None)  # such a model does not
      head = opener(vocab, after)
      ids, authors = _encode(vocab, [*chatml.own(vocab, own),
                                     Piece(spm.END, A.SELF, True)])
      return head + ids, [A.TEMPLATE] * len(head) + authors
    case 'system':
      if after is not None:
        raise ValueError('Gemma has no system role, only text in front of the '
                         'first turn: put the system message first.')
      pieces = [Piece(f'{_turn(after, "user")}\n', A.TEMPLATE, True),
                Piece(text, A.SYSTEM), *chatml.tools_block(message, tools)]
    case 'tool':
      joins = after is not None and after.role == 'tool'
      head = '' if joins else _turn(after, 'user')
      pieces = [Piece(f'{head}\n{hf.RESULT}\n', A.TEMPLATE, True),
                Piece(text, A.TOOL),
                Piece(f'\n{hf.RESULT_END}', A.TEMPLATE, True)]
    case 'user':
      joins = after is not None and after.role == 'system'
      head = '\n\n' if joins else f'{_turn(after, "user")}\n'
      pieces = [Piece(head, A.TEMPLATE, True), Piece(text.strip(), A.OTHER),
                Piece(spm.END, A.OTHER, True)]
  return _encode(vocab, pieces)


def opener(vocab: Vocab, after: types.Message | None = None, *,
           quiet: bool = False) -> list[int]:
  """What is fed before a side's own turn is sampled.

  Args:
    vocab: of the model.
    after: the message before the turn; None if it is the first.
    quiet: to keep a model from thinking, which this one does not.

  Raises:
    ValueError: a vocabulary that is not Gemma's.
  """
  del quiet
  return _encode(vocab, [
      Piece(f'{_turn(after, "model")}\n', A.TEMPLATE, True)])[0]


def parse(vocab: Vocab, ids: Sequence[int]) -> types.Message:
  """The message that sampled ids say; an empty one if they are ill-formed."""
  return chatml.parse(vocab, ids)


def _turn(after: types.Message | None, name: str) -> str:
  """Begins a turn, and ends what the message before has left open."""
  if after is None:
    return f'{spm.BOS}{spm.START}{name}'
  left_open = spm.END if after.role in ('system', 'tool') else ''
  return f'{left_open}\n{spm.START}{name}'


def _encode(vocab: Vocab,
            pieces: Sequence[Piece]) -> tuple[list[int], list[int]]:
  if missing := [m for m in (spm.BOS, spm.START, spm.END)
                 if m not in vocab.marks]:
    raise ValueError(f'The vocabulary has no {", ".join(missing)}: its model '
                     'is no Gemma made for dialogues.')
  return chatml.encode(vocab, pieces)
