r"""Messages <-> ids as Gemma 3 has them.

    <bos><start_of_turn>user\n (system (\n\n tools)? \n\n)? text <end_of_turn>\n
    <start_of_turn>model\n text?
        (\n<tool_call>\n {"name": .., "arguments": {..}} \n</tool_call>)*
        <end_of_turn>\n
    <start_of_turn>user
        (\n<tool_response>\n text \n</tool_response>)+ <end_of_turn>\n

The models' own template has the turns and their names, `<bos>`, the system text
in front of the first user's, and trims both sides' texts. It knows no tools:
the block that describes them, calls and results are those of `chatml`, put into
such turns here. It also refuses a model that speaks first, right after the
system text, and a party that speaks twice; both are rendered here.

The ids are those of the whole dialogue tokenised as one string, with the
exceptions that `chatml` names; and line breaks before the two that follow a
system text stay apart from them. The ids of a longer dialogue begin with the
ids of the shorter one: the ends of a system text and of a turn of tool results
are written by the message after it.
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
TextRun = chatml.TextRun


def render(vocab: hf.PublishedVocab, message: types.Message, *,
           after: types.Message | None = None,
           tools: Sequence[Mapping[str, Any]] = ()
           ) -> tuple[list[int], list[int]]:
  """Renders one message.

  Args:
    vocab: vocabulary of the model.
    message: message in the view of the model's side.
    after: the message before it; None if it is the first.
    tools: OpenAI schemas, put into a system message; its content may be None,
      where a dialogue has tools and no system prompt.

  Returns:
    (ids, authors).

  Raises:
    ValueError: tools in a message of another role, a system message that is
      not the first, or a vocabulary that is not Gemma's.
  """
  chatml.check_tools(message, tools)
  text = message.content or ''
  match message.role:
    case 'assistant':
      own = dataclasses.replace(message, content=text.strip(),
                                thinking=None)  # the model does not think
      head = opener(vocab, after)
      ids, authors = _encode(vocab, [*chatml.own(vocab, own),
                                     TextRun(spm.END, A.SELF, True)])
      return head + ids, [A.TEMPLATE] * len(head) + authors
    case 'system':
      if after is not None:
        raise ValueError('Gemma has no system role, only text in front of the '
                         'first turn: put the system message first.')
      runs = [TextRun(f'{_turn(after, "user")}\n', A.TEMPLATE, True),
                TextRun(text, A.SYSTEM), *chatml.tools_block(message, tools)]
    case 'tool':
      joins = after is not None and after.role == 'tool'
      head = '' if joins else _turn(after, 'user')
      runs = [TextRun(f'{head}\n{hf.RESULT}\n', A.TEMPLATE, True),
                TextRun(text, A.TOOL),
                TextRun(f'\n{hf.RESULT_END}', A.TEMPLATE, True)]
    case 'user':
      joins = after is not None and after.role == 'system'
      head = '\n\n' if joins else f'{_turn(after, "user")}\n'
      runs = [TextRun(head, A.TEMPLATE, True), TextRun(text.strip(), A.OTHER),
                TextRun(spm.END, A.OTHER, True)]
  return _encode(vocab, runs)


def opener(vocab: hf.PublishedVocab, after: types.Message | None = None, *,
           quiet: bool = False) -> list[int]:
  """Renders the ids that are fed before a side's own turn is sampled.

  Args:
    vocab: vocabulary of the model.
    after: the message before the turn; None if it is the first.
    quiet: no effect: the model does not think.

  Raises:
    ValueError: a vocabulary that is not Gemma's.
  """
  del quiet
  return _encode(vocab, [
      TextRun(f'{_turn(after, "model")}\n', A.TEMPLATE, True)])[0]


def parse(vocab: hf.PublishedVocab, ids: Sequence[int]) -> types.Message:
  """Parses sampled ids into a message; an empty one if they are ill-formed."""
  return chatml.parse(vocab, ids)


def _turn(after: types.Message | None, name: str) -> str:
  """Begins a turn, and ends the one that the message before has left open."""
  if after is None:
    return f'{spm.BOS}{spm.START}{name}'
  left_open = spm.END if after.role in ('system', 'tool') else ''
  return f'{left_open}\n{spm.START}{name}'


def _encode(vocab: hf.PublishedVocab,
            runs: Sequence[TextRun]) -> tuple[list[int], list[int]]:
  if missing := [m for m in (spm.BOS, spm.START, spm.END)
                 if m not in vocab.marks]:
    raise ValueError(f'The vocabulary has no {", ".join(missing)}: its model '
                     'is no Gemma made for dialogues.')
  return chatml.encode(vocab, runs)
