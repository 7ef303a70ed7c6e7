"""Judges what only words can tell, by an OpenAI-compatible LLM (extra `llm`).

    --config.env.judge=agentrl.llm.openai_judge:judge

The server is that of OPENAI_BASE_URL and OPENAI_API_KEY, the model that of
AGENTRL_JUDGE, which the measurement hash does not know: name it beside every
number. The prompt is ours, so verdicts need not be those of the benchmark's
own judge, another LLM.
"""

from __future__ import annotations

from collections.abc import Sequence
import functools
import json
import os
from typing import Any

from agentrl import types

PROMPT = (
    'You are given a conversation between a customer and a support agent, and '
    'a numbered list of statements. Decide for each statement alone whether '
    'the conversation shows it to be true. What was not said or done does not '
    'count. Answer with a JSON object {"met": [...]}: one true or false for '
    'each statement, in their order.')


def judge(assertions: Sequence[str],
          messages: Sequence[types.Message]) -> list[bool]:
  """Whether each statement is true of a dialogue.

  Raises:
    ValueError: no model is named, or the answer is not of the form asked for.
  """
  model = os.environ.get('AGENTRL_JUDGE')
  if not model:
    raise ValueError('No model to judge by: set AGENTRL_JUDGE to its name '
                     '(and OPENAI_BASE_URL, OPENAI_API_KEY to its server).')
  talk = '\n'.join(f'{m.role}: {m.content}' for m in messages if m.has_text)
  asked = '\n'.join(f'{i}. {a}' for i, a in enumerate(assertions, 1))
  reply = _client().chat.completions.create(
      model=model, temperature=0.0, response_format={'type': 'json_object'},
      messages=[{'role': 'system', 'content': PROMPT},
                {'role': 'user', 'content':
                     f'Conversation:\n{talk}\n\nStatements:\n{asked}'}])
  text = reply.choices[0].message.content or ''
  try:
    met = json.loads(text)['met']
  except (ValueError, KeyError, TypeError):
    met = None
  if (not isinstance(met, list) or len(met) != len(assertions)
      or not all(isinstance(x, bool) for x in met)):
    raise ValueError(f'The judge {model} answered {text[:80]!r} in place of '
                     f'{len(assertions)} verdicts.')
  return met


@functools.cache
def _client() -> Any:
  try:
    import openai  # pylint: disable=g-import-not-at-top
  except ModuleNotFoundError as e:
    raise ValueError('The judge needs the package openai: pip install '
                     '-e .[llm].') from e
  return openai.OpenAI()  # tries again by itself where a server is busy
