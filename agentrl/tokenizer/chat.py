"""Messages <-> ids, with the author of each id, for models from scratch.

    <|system|> text <|end|>  <|user|> text <|end|>  <|tool|> text <|end|>
    <|assistant|> text? (<|call|> name (<|arg|> name <|val|> value)*)* <|end|>

Every message renders by itself, so the ids of a longer dialogue begin with
the ids of the shorter one, and a cache never has to be rewound. Dialogues are
rendered from one side's view (`envs.dialogue.view`): that side is the
assistant, and its words, calls and end marks are its own (`Author.SELF`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from typing import Any

from agentrl import types
from agentrl.tokenizer import vocab as vocab_lib

A = types.Author
_AUTHOR = {'system': A.SYSTEM, 'user': A.OTHER, 'tool': A.TOOL,
           'assistant': A.SELF}


def render(vocab: vocab_lib.Vocab, message: types.Message, *,
           after: types.Message | None = None,
           tools: Sequence[Mapping[str, Any]] = ()
          ) -> tuple[list[int], list[int]]:
  """Renders one complete message, end mark included.

  Args:
    vocab: vocabulary of the model.
    message: message in the view of the model's side; its thinking is left out.
    after: no effect: every message renders by itself.
    tools: OpenAI schemas, written as text below the message's own.

  Returns:
    (ids, authors).
  """
  del after
  header = getattr(vocab, message.role)
  text = types.with_tools(message.content or '', tools)
  ids = vocab.encode(text) if text else []
  for call in message.tool_calls:
    ids += [vocab.call, *vocab.encode(call.name)]
    for name, value in call.arguments.items():
      ids += [vocab.arg, *vocab.encode(name), vocab.val,
              *vocab.encode(write_value(value))]
  ids.append(vocab.end)
  return [header, *ids], [A.TEMPLATE] + [_AUTHOR[message.role]] * len(ids)


def opener(vocab: vocab_lib.Vocab,
           after: types.Message | None = None, *,
           quiet: bool = False) -> list[int]:
  """Returns the ids that are fed before a side's own turn is sampled."""
  del after, quiet  # the model does not think
  return [vocab.assistant]


def parse(vocab: vocab_lib.Vocab, ids: Sequence[int]) -> types.Message:
  """Parses sampled ids into a message; an empty one if they are ill-formed.

  Ill-formed: cut off before the end mark, or markup where none may stand.
  """
  nothing = types.Message('assistant')
  ids = [int(i) for i in ids]
  if not ids or ids[-1] != vocab.end:
    return nothing
  text, *calls = _split(ids[:-1], vocab.call)
  try:
    content = vocab.decode(text) or None
    parsed = tuple(_parse_call(vocab, call) for call in calls)
  except ValueError:  # decode refuses stray markup
    return nothing
  return types.Message('assistant', content, parsed)


def _parse_call(vocab: vocab_lib.Vocab, ids: list[int]) -> types.ToolCall:
  name, *pairs = _split(ids, vocab.arg)
  arguments = {}
  for pair in pairs:
    key, *values = _split(pair, vocab.val)
    if len(values) != 1:
      raise ValueError('An argument must have one value.')
    arguments[vocab.decode(key)] = read_value(vocab.decode(values[0]))
  return types.ToolCall(vocab.decode(name), arguments)


def _split(ids: list[int], mark: int) -> list[list[int]]:
  parts = [[]]
  for i in ids:
    if i == mark:
      parts.append([])
    else:
      parts[-1].append(i)
  return parts


def write_value(value: Any) -> str:
  """Writes an argument as text: a string bare unless it would read as JSON."""
  if isinstance(value, str) and read_value(value) == value:
    return value
  return json.dumps(value, ensure_ascii=False)


def read_value(text: str) -> Any:
  """Reads an argument: JSON if it is JSON, else the text itself."""
  try:
    return json.loads(text)
  except (ValueError, RecursionError):
    return text
