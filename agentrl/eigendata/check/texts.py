"""Reads the texts of tasks and dialogues, and compares them by their words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
import itertools
import re
from typing import Any

from agentrl import jsons
from agentrl import types

# Words in a row that two texts do not share by chance: Brown et al.,
# arXiv:2005.14165, appendix C.
NGRAM = 13


def of_task(task: types.Task, messages: Sequence[types.Message] = ()
            ) -> Iterator[str]:
  """Yields the texts that a task begins with, and all words and arguments of
  both sides; results of tools are left out: they list other records too."""
  yield task.scenario
  yield jsons.dumps(task.initial_state or {})  # records of its own, by key
  for action in task.criteria.actions:
    yield from _leaves(action.arguments)
  for message in messages:
    if message.role in ('assistant', 'user') and message.content:
      yield message.content
    for call in message.tool_calls:
      yield from _leaves(call.arguments)


def _leaves(value: Any) -> Iterator[str]:
  if isinstance(value, Mapping):
    value = list(value.values())
  if isinstance(value, (list, tuple)):
    for item in value:
      yield from _leaves(item)
  elif value is not None:
    yield str(value)


def words(text: str) -> str:
  """Returns the words of a text, lower case, without punctuation."""
  return ' '.join(re.findall(r'\w+', text.lower()))


def windows(row: Sequence[str], size: int) -> Iterator[str]:
  """Yields every `size` words in a row."""
  for i in range(len(row) - size + 1):
    yield ' '.join(row[i:i + size])


def grams(texts: Iterable[str]) -> set[str]:
  """Returns every NGRAM words in a row of a line.

  Lines count by themselves: the benchmark's scenarios have headings between
  them.
  """
  lines = itertools.chain.from_iterable(map(str.splitlines, texts))
  return {gram for line in lines
          for gram in windows(words(line).split(), NGRAM)}
