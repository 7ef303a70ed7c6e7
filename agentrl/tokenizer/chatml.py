r"""Messages <-> ids in ChatML with tools, for published models.

    <|im_start|>system\n text (\n\n tools)? <|im_end|>\n
    <|im_start|>user\n text <|im_end|>\n
    <|im_start|>assistant\n (<think>\n .. \n</think>\n\n)? text?
        (\n<tool_call>\n {"name": .., "arguments": {..}} \n</tool_call>)*
        <|im_end|>\n
    <|im_start|>user (\n<tool_response>\n text \n</tool_response>)+ <|im_end|>\n

This is the markup of Qwen3's template, and without tools that of SmolLM2's;
the ids are those of the whole dialogue tokenised as one string, with two
exceptions: text cannot forge the markup, and a side's own turn is tokenised
apart from the ids fed before it, as it is when it is sampled.

The ids of a longer dialogue begin with the ids of the shorter one: the break
after a turn, and the end of a turn of tool results, which more results could
lengthen, are written by the message after it.

Where a vocabulary has no ids for the marks within a turn, they are ordinary
text, and text of a message that looks like them is cut so that its ids are
others. Only a side's own words are then read by their text, as all servers do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import functools
import json
import re
from typing import Any, NamedTuple

from agentrl import types
from agentrl.tokenizer import hf

A = types.Author
_AUTHOR = {'system': A.SYSTEM, 'user': A.OTHER, 'tool': A.TOOL,
           'assistant': A.SELF}
_OWN = (hf.CALL, hf.CALL_END, hf.THINK, hf.THINK_END)
_NO_THOUGHT = f'{hf.THINK}\n\n{hf.THINK_END}\n\n'
# Word for word as in training of the models.
_TOOLS_ABOVE = (
    '# Tools\n\nYou may call one or more functions to assist with the user '
    'query.\n\nYou are provided with function signatures within '
    '<tools></tools> XML tags:\n<tools>')
_TOOLS_BELOW = (
    '\n</tools>\n\nFor each function call, return a json object with function '
    f'name and arguments within {hf.CALL}{hf.CALL_END} XML tags:\n'
    f'{hf.CALL}\n{{"name": <function-name>, "arguments": '
    f'<args-json-object>}}\n{hf.CALL_END}')


class TextRun(NamedTuple):
  """A run of text by one author; only in `markup` do marks become their ids."""

  text: str
  author: types.Author
  markup: bool = False


def render(vocab: hf.BpeVocab, message: types.Message, *,
           after: types.Message | None = None,
           tools: Sequence[Mapping[str, Any]] = ()
           ) -> tuple[list[int], list[int]]:
  """Renders one message.

  Args:
    vocab: vocabulary of the model.
    message: message in the view of the model's side. Its thinking stands
      before its words; '' is the empty block that `opener` writes to keep a
      model from thinking.
    after: the message before it; None if it is the first.
    tools: OpenAI schemas, put into a system message; its content may be None,
      where a dialogue has tools and no system prompt.

  Returns:
    (ids, authors).

  Raises:
    ValueError: tools or thinking in a message of another role, or a vocabulary
      without ChatML.
  """
  check_tools(message, tools)
  if message.role == 'assistant':
    head = opener(vocab, after, quiet=message.thinking == '')
    ids, authors = _encode(vocab, [*own(vocab, message),
                                   TextRun(hf.END, A.SELF, True)])
    return head + ids, [A.TEMPLATE] * len(head) + authors
  if message.thinking is not None:
    raise ValueError(f'A message of role {message.role!r} has no thinking.')
  if message.role == 'tool':
    return _encode(vocab, _result(message, after))
  author = _AUTHOR[message.role]
  return _encode(vocab, [
      TextRun(f'{_gap(after)}{hf.START}{message.role}\n', A.TEMPLATE, True),
      TextRun(message.content or '', author),
      *tools_block(message, tools),
      TextRun(hf.END, author, True)])


def check_tools(message: types.Message,
                tools: Sequence[Mapping[str, Any]]) -> None:
  """Raises ValueError if there are tools for a message that shows none."""
  if tools and message.role != 'system':
    raise ValueError(f'Got {len(tools)} tools with a message of role '
                     f'{message.role!r}, but a prompt shows them in its system '
                     'message: put them there.')


def opener(vocab: hf.BpeVocab, after: types.Message | None = None, *,
           quiet: bool = False) -> list[int]:
  """Renders the ids that are fed before a side's own turn is sampled.

  Args:
    vocab: vocabulary of the model.
    after: the message before the turn; None if it is the first.
    quiet: writes an empty block of thinking, so that the model writes none.

  Raises:
    ValueError: a vocabulary without ChatML.
  """
  text = f'{_gap(after)}{hf.START}assistant\n' + (_NO_THOUGHT if quiet else '')
  return _encode(vocab, [TextRun(text, A.TEMPLATE, True)])[0]


def _gap(after: types.Message | None, joins: bool = False) -> str:
  """Returns the text that ends the message before."""
  if after is None or joins:
    return ''
  return f'{hf.END}\n' if after.role == 'tool' else '\n'


def _result(message: types.Message,
            after: types.Message | None) -> list[TextRun]:
  joins = after is not None and after.role == 'tool'
  head = '' if joins else f'{hf.START}user'
  return [
      TextRun(f'{_gap(after, joins)}{head}\n{hf.RESULT}\n', A.TEMPLATE, True),
      TextRun(message.content or '', A.TOOL),
      TextRun(f'\n{hf.RESULT_END}', A.TEMPLATE, True)]


def tools_block(message: types.Message,
                tools: Sequence[Mapping[str, Any]]) -> list[TextRun]:
  """Describes tools below the text of a system message; []: there are none."""
  if not tools:
    return []
  gap = '' if message.content is None else '\n\n'
  schemas = ''.join(f'\n{_json(tool)}' for tool in tools)
  return [TextRun(gap + _TOOLS_ABOVE, A.SYSTEM, True),
          TextRun(schemas, A.SYSTEM), TextRun(_TOOLS_BELOW, A.SYSTEM, True)]


def own(vocab: hf.BpeVocab, message: types.Message) -> Iterator[TextRun]:
  """Yields a side's own turn, without the mark that ends it."""
  content = message.content or ''
  if message.thinking is not None:
    content = content.lstrip('\n')
  if message.thinking:
    yield TextRun(f'{hf.THINK}\n', A.SELF, True)
    yield TextRun(message.thinking.strip('\n'), A.SELF)
    yield TextRun(f'\n{hf.THINK_END}\n\n', A.SELF, True)
  yield TextRun(content, A.SELF)
  for n, call in enumerate(message.tool_calls):
    gap = '\n' if n or content else ''
    yield TextRun(f'{gap}{hf.CALL}\n{{"name": ', A.SELF, True)
    yield TextRun(_harmless(vocab, _json(call.name)), A.SELF)
    yield TextRun(', "arguments": ', A.SELF, True)
    yield TextRun(_harmless(vocab, _json(dict(call.arguments))), A.SELF)
    yield TextRun(f'}}\n{hf.CALL_END}', A.SELF, True)


def _json(value: Any) -> str:
  return json.dumps(value, ensure_ascii=False)


def _harmless(vocab: hf.BpeVocab, text: str) -> str:
  """Escapes marks in JSON that would be read by their text."""
  for mark in _textual(vocab, _OWN):
    text = text.replace(mark, '\\u003c' + mark[1:])
  return text


def _textual(vocab: hf.BpeVocab, marks: Sequence[str]) -> list[str]:
  """Returns the marks that the vocabulary has no ids for."""
  return [mark for mark in marks if mark not in vocab.marks]


def _encode(vocab: hf.BpeVocab,
            runs: Sequence[TextRun]) -> tuple[list[int], list[int]]:
  if hf.START not in vocab.marks or hf.END not in vocab.marks:
    raise ValueError(f'The vocabulary has no {hf.START} and {hf.END}: its '
                     'model was not made for ChatML.')
  return encode(vocab, runs)


def encode(vocab: hf.PublishedVocab,
           runs: Sequence[TextRun]) -> tuple[list[int], list[int]]:
  """Encodes runs of text; text between two marks is tokenised as one string.

  Returns:
    (ids, authors).
  """
  cut, mark = _cut(vocab), _mark(vocab)
  ids, authors, joined = [], [], []
  def end_string():
    more, parts = vocab.encode_parts([run.text for run in joined])
    ids.extend(more)
    authors.extend(joined[part].author for part in parts)
    joined.clear()
  for run in runs:
    texts = mark.split(run.text) if run.markup else cut.split(run.text)
    for n, text in enumerate(texts):
      if run.markup and n % 2:  # a mark, between texts
        end_string()
        ids.append(vocab.marks[text])
        authors.append(run.author)
        continue
      if n and not run.markup:
        end_string()
      joined.append(TextRun(text, run.author))
  end_string()
  return ids, authors


@functools.lru_cache(maxsize=8)
def _mark(vocab: hf.BpeVocab) -> re.Pattern[str]:
  """Compiles the pattern of all marks that have an id of their own."""
  return re.compile('(' + '|'.join(map(re.escape, vocab.marks)) + ')')


@functools.lru_cache(maxsize=8)
def _cut(vocab: hf.BpeVocab) -> re.Pattern[str]:
  """Compiles the pattern that cuts text which looks like a mark, so that its
  ids are others.

  Raises:
    ValueError: each of its characters is an id of its own.
  """
  places = []
  for mark in _textual(vocab, hf.INNER):
    whole = vocab.encode(mark)
    at = next((at for at in range(1, len(mark)) if whole != (
        vocab.encode(mark[:at]) + vocab.encode(mark[at:]))), None)
    if at is None:
      raise ValueError(f'The vocabulary has no piece of two characters for '
                       f'{mark}, so text could forge it: use a larger one.')
    places.append(f'(?<={mark[:at]})(?={mark[at:]})')
  return re.compile('|'.join(places) or r'(?!)')


def parse(vocab: hf.BpeVocab, ids: Sequence[int]) -> types.Message:
  """Parses sampled ids into a message; an empty one if they are ill-formed.

  Ill-formed: cut off before the end mark, markup where none may stand, calls
  that are not JSON of a name and arguments, words after a call.
  """
  nothing = types.Message('assistant')
  ids = [int(i) for i in ids]
  if not ids or ids[-1] != vocab.end:
    return nothing
  try:
    return _turn(_parts(vocab, ids[:-1]))
  except (ValueError, RecursionError):  # decode refuses stray markup
    return nothing


def _parts(vocab: hf.BpeVocab, ids: list[int]) -> list[str]:
  """Splits ids into text, mark, text, mark, .., text."""
  marks = {vocab.marks[mark]: mark for mark in _OWN if mark in vocab.marks}
  parts, start = [], 0
  for n, i in enumerate(ids):
    if i in marks:
      parts += [vocab.decode(ids[start:n]), marks[i]]
      start = n + 1
  parts.append(vocab.decode(ids[start:]))
  textual = re.compile('(' + '|'.join(_textual(vocab, _OWN)) + ')')
  if textual.pattern == '()':
    return parts
  return [text for n, part in enumerate(parts)
          for text in ([part] if n % 2 else textual.split(part))]


def _turn(parts: list[str]) -> types.Message:
  thinking = None
  if parts[1:2] == [hf.THINK]:
    if parts[0].strip() or parts[3:4] != [hf.THINK_END]:
      raise ValueError('Thinking must come first, and must end.')
    thinking = parts[2].strip('\n')
    parts = [parts[4].lstrip('\n'), *parts[5:]]
  content, *rest = parts
  if len(rest) % 4:
    raise ValueError('A call must be opened and closed.')
  calls = []
  for n in range(0, len(rest), 4):
    opened, body, closed, gap = rest[n:n + 4]
    if (opened, closed, gap.strip()) != (hf.CALL, hf.CALL_END, ''):
      raise ValueError('Calls must stand side by side at the end.')
    calls += _calls(body)
  if calls:
    content = content.removesuffix('\n')
  return types.Message('assistant', content or None, tuple(calls),
                       thinking=thinking)


def _calls(text: str) -> list[types.ToolCall]:
  """Reads the calls of one block: one, or a list of them as SmolLM2 writes."""
  value = json.loads(text)
  items = value if isinstance(value, list) else [value]
  if not items:
    raise ValueError('A block of calls must hold one.')
  calls = []
  for item in items:
    if not isinstance(item, dict) or item.keys() != {'name', 'arguments'}:
      raise ValueError('A call must have a name and arguments.')
    name, arguments = item['name'], item['arguments']
    if not isinstance(name, str) or not isinstance(arguments, dict):
      raise ValueError('A call must have a text as name, and an object.')
    _json(item).encode()  # half a surrogate pair is no text: a ValueError
    calls.append(types.ToolCall(name, arguments))
  return calls
