"""Chooses dialogues to show, and splits them into turns and tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import json
import math

import numpy as np

from agentrl import types

A, O = types.Author, types.Outcome
Piece = Callable[[int], str]
Episodes = Mapping[str, Sequence[types.Episode]]  # by name of the task

PROMPT = 300  # tokens of a prompt that are shown
SPEAKERS = {'assistant': 'Agent', 'user': 'User'}
_FED = {A.TEMPLATE: 'template', A.SYSTEM: 'system', A.TOOL: 'tool',
        A.OTHER: 'other'}


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
  """One token.

  Attributes:
    text: its text.
    author: `agent` or `user` where a model sampled it, else its source.
    logp: log-probability [nats].
    doubt: 1 - probability in fifths, for the shade; 0 where it was fed.
  """

  text: str
  author: str
  logp: float
  doubt: int


@dataclasses.dataclass(frozen=True, slots=True)
class ShownTurn:
  """One message as it is shown; a tool result is a turn of its own.

  Attributes:
    speaker: Agent, User or Tool.
    side: side that speaks, or that made the call.
    text: text of the message.
    calls: its tool calls, as text.
    error: the call was refused.
    tokens: its tokens; () without a trace.
  """

  speaker: str
  side: types.Side
  text: str
  calls: tuple[str, ...]
  error: bool
  tokens: tuple[Token, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class ShownEpisode:
  """An episode of one run, and the run's results on the task.

  Attributes:
    run: label of the run.
    episode: the episode.
    passed: number of trials of the task that passed.
    trials: number of trials of the task.
    prompt: beginning of the agent's prompt.
    prompt_length: length of the whole prompt [tokens].
    turns: all turns of the episode.
  """

  run: str
  episode: types.Episode
  passed: int
  trials: int
  prompt: tuple[Token, ...]
  prompt_length: int
  turns: tuple[ShownTurn, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
  """A task with an episode of each run, and the rule that chose it."""

  rule: str
  task: types.Task
  shown: tuple[ShownEpisode, ...]


def turns(episode: types.Episode, piece: Piece) -> tuple[ShownTurn, ...]:
  """Splits a dialogue into turns.

  Args:
    episode: with or without traces.
    piece: returns the text of a token id.
  """
  shown = []
  for i, message in enumerate(episode.messages):
    side = message.requestor if message.role == 'tool' else message.role
    shown.append(ShownTurn(
        SPEAKERS.get(message.role, 'Tool'), side, message.content or '',
        tuple(map(_call, message.tool_calls)), message.error,
        tokens(episode, side, i, piece)))
  return tuple(shown)


def _call(call: types.ToolCall) -> str:
  args = (f'{name}={json.dumps(value, ensure_ascii=False)}'
          for name, value in call.arguments.items())
  return f'{call.name}({", ".join(args)})'


def tokens(episode: types.Episode, side: types.Side, index: int,
           piece: Piece) -> tuple[Token, ...]:
  """Returns the tokens of one message, from the trace of its side if possible.

  Args:
    episode: one side's trace is enough: it holds the messages of the other
      side, but not the prompt and tool results of the other side.
    side: side of the message.
    index: index of the message; -1 is the system prompt.
    piece: returns the text of a token id.
  """
  own = {'assistant': 'agent', 'user': 'user'}[side]
  for name in (own, 'agent', 'user') if index >= 0 else (own,):
    trace = getattr(episode, name)
    rows = () if trace is None else _rows(trace, index)
    if len(rows):
      return tuple(_token(trace, t, name, piece) for t in rows)
  return ()


def _rows(trace: types.Trace, index: int) -> np.ndarray:
  """Returns the indices of a message; as sampled, if the history holds less."""
  at_T = trace.turn_T == index
  if trace.rewound_T is not None and (said_T := at_T & trace.rewound_T).any():
    at_T = said_T
  return at_T.nonzero()[0]


def _token(trace: types.Trace, t: int, side: str, piece: Piece) -> Token:
  author = A(int(trace.author_T[t]))
  logp = float(trace.logp_T[t])
  sampled = author == A.SELF
  return Token(piece(int(trace.ids_T[t])),
               side if sampled else _FED.get(author, 'template'), logp,
               math.ceil(5 * (1 - math.exp(logp))) if sampled else 0)


@dataclasses.dataclass(frozen=True, slots=True)
class CaseRule:
  """Chooses a task to show, and its trials.

  Attributes:
    name: title of the case.
    score: function of the task, its share of successes in the first and in the
      last run, and its share of user faults in the last; the task with the
      highest score above 0 is shown.
    first: says for an outcome if such a trial of the first run is shown.
    last: the same for the last run.
  """

  name: str
  score: Callable[[types.Task, float, float, float], float]
  first: Callable[[types.Outcome], bool]
  last: Callable[[types.Outcome], bool]


_PASSED, _FAILED = (lambda o: o == O.SUCCESS), (lambda o: o != O.SUCCESS)
_FAULTY = lambda o: o == O.USER_FAULT
CASE_RULES = (
    CaseRule('Learned', lambda task, a, b, faults: b - a, _FAILED, _PASSED),
    CaseRule('Unlearned', lambda task, a, b, faults: a - b, _PASSED, _FAILED),
    CaseRule('Not solved', lambda task, a, b, faults: b == 0, _FAILED, _FAILED),
    CaseRule('User at fault', lambda task, a, b, faults: faults, _FAULTY,
             _FAULTY),
    CaseRule('Refusal, transfer or fallback',
             lambda task, a, b, faults: b * (task.kind != 'do'), _PASSED,
             _PASSED),
    CaseRule('Solved', lambda task, a, b, faults: b == 1, _PASSED, _PASSED),
)


def choose(tasks: Mapping[str, types.Task], runs: Mapping[str, Episodes], *,
           piece: Piece, count: int = 6) -> list[Case]:
  """Chooses a few tasks to read, by rules and not by hand.

  Args:
    tasks: tasks by name.
    runs: one or two runs on these tasks by label, the earlier first.
    piece: returns the text of a token id.
    count: most tasks.

  Returns:
    the best task by each of `CASE_RULES`, then the second best; ties go by
    name.
  """
  first, last = list(runs.values())[0], list(runs.values())[-1]
  facts = {name: (_share(first[name], _PASSED), _share(last[name], _PASSED),
                  _share(last[name], _FAULTY))
           for name in sorted(tasks) if name in first and name in last}
  cases = []
  for rule in CASE_RULES * 2:
    scores = {name: rule.score(tasks[name], *shares)
              for name, shares in facts.items()}
    best = max(scores, key=scores.get, default=None)
    if best is not None and scores[best] > 0 and len(cases) < count:
      del facts[best]
      cases.append(Case(rule.name, tasks[best], tuple(
          _show(label, episodes[best],
                rule.last if episodes is last else rule.first, piece)
          for label, episodes in runs.items())))
  return cases


def _share(episodes: Sequence[types.Episode],
           wanted: Callable[[types.Outcome], bool]) -> float:
  return sum(wanted(e.outcome) for e in episodes) / len(episodes)


def _show(label: str, episodes: Sequence[types.Episode],
          wanted: Callable[[types.Outcome], bool], piece: Piece
          ) -> ShownEpisode:
  """Returns the first trial of a wanted outcome, or else the first."""
  episode = next((e for e in episodes if wanted(e.outcome)), episodes[0])
  prompt = tokens(episode, 'assistant', -1, piece)
  return ShownEpisode(
      label, episode, sum(_PASSED(e.outcome) for e in episodes), len(episodes),
      prompt[:PROMPT], len(prompt), turns(episode, piece))
