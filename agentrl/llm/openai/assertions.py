"""Judges assertions in words about a dialogue, by an OpenAI-compatible LLM
(extra `llm`).

    --config.env.judge=agentrl.llm.openai.assertions:AssertionJudge \
    --config.env.judge_kw.model=<name>

The server is that of OPENAI_BASE_URL and OPENAI_API_KEY. The prompt is ours,
so verdicts need not be those of the benchmark's own judge, another LLM.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentrl import types
from agentrl.llm import llm
from agentrl.llm import strict
from agentrl.llm.openai import chat

PROMPT = (
    'You are given a conversation between a customer and a support agent, and '
    'a numbered list of statements. Decide for each statement alone whether '
    'the conversation shows it to be true. What was not said or done does not '
    'count. Answer with a JSON object {"met": [...]}: one true or false for '
    'each statement, in their order.')


class AssertionJudge:
  """Decides by an LLM whether statements are true of a dialogue.

  Args:
    model: name of the model.

  Raises:
    ValueError: no name, or the package openai is not installed.
  """

  def __init__(self, model: str):
    if not model:
      raise ValueError('No model to judge by, got model=\'\': set '
                       'config.env.judge_kw.model to its name (and '
                       'OPENAI_BASE_URL, OPENAI_API_KEY to its server).')
    self._model = model
    self._llm = strict.Strict(chat.OpenAIChat(
        model, sampling=dict(temperature=0.0, form='json_object')))

  def __call__(self, assertions: Sequence[str],
               messages: Sequence[types.Message]) -> list[bool]:
    """Returns a verdict for each statement.

    Raises:
      ValueError: the answer is not of the form that was asked for.
      llm.Unavailable: no answer came.
    """
    dialogue = '\n'.join(f'{m.role}: {m.content}'
                         for m in messages if m.has_text)
    statements = '\n'.join(f'{i}. {a}' for i, a in enumerate(assertions, 1))
    verdicts = {'type': 'array', 'items': {'type': 'boolean'},
                'minItems': len(assertions), 'maxItems': len(assertions)}
    messages = [
        types.Message('system', PROMPT),
        types.Message('user', f'Conversation:\n{dialogue}\n\nStatements:\n'
                      f'{statements}')]
    try:
      return self._llm.complete(messages, seed=0, schema={
          'type': 'object', 'required': ['met'],
          'properties': {'met': verdicts}}).value['met']
    except llm.BadAnswer as e:
      raise ValueError(
          f'The judge {self._model} did not answer {{"met": [...]}} with '
          f'{len(assertions)} verdicts ({e.kind}: {e.detail[:200]}): try a '
          'model that keeps to a form.') from e
