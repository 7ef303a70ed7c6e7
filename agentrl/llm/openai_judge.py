"""Judges what only words can tell, by an OpenAI-compatible LLM (extra `llm`).

    --config.env.judge=agentrl.llm.openai_judge:Judge \
    --config.env.judge_kw.model=<name>

The server is that of OPENAI_BASE_URL and OPENAI_API_KEY. The prompt is ours,
so verdicts need not be those of the benchmark's own judge, another LLM.
"""

from __future__ import annotations

from collections.abc import Sequence
import json

from agentrl import resolve
from agentrl import types

PROMPT = (
    'You are given a conversation between a customer and a support agent, and '
    'a numbered list of statements. Decide for each statement alone whether '
    'the conversation shows it to be true. What was not said or done does not '
    'count. Answer with a JSON object {"met": [...]}: one true or false for '
    'each statement, in their order.')


class Judge:
  """Whether statements are true of a dialogue, by an LLM.

  Args:
    model: its name.

  Raises:
    ValueError: no name, or the package openai is not installed.
  """

  def __init__(self, model: str):
    if not model:
      raise ValueError('No model to judge by, got model=\'\': set '
                       'config.env.judge_kw.model to its name (and '
                       'OPENAI_BASE_URL, OPENAI_API_KEY to its server).')
    self._model = model
    # It tries again by itself where a server is busy.
    self._client = resolve.extra('openai', 'llm').OpenAI()

  def __call__(self, assertions: Sequence[str],
               messages: Sequence[types.Message]) -> list[bool]:
    """One verdict for each statement.

    Raises:
      ValueError: the answer is not of the form asked for.
    """
    talk = '\n'.join(f'{m.role}: {m.content}' for m in messages if m.has_text)
    asked = '\n'.join(f'{i}. {a}' for i, a in enumerate(assertions, 1))
    reply = self._client.chat.completions.create(
        model=self._model, temperature=0.0,
        response_format={'type': 'json_object'},
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
      raise ValueError(f'The judge {self._model} answered {text[:80]!r}, not '
                       f'{{"met": [...]}} with {len(assertions)} verdicts: try '
                       'a model that keeps to a form.')
    return met
