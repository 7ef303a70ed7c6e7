"""Dialogues for people: which ones to show, turn by turn, token by token."""

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

PROMPT = 300  # so many tokens of a prompt are shown
SPEAKERS = {'assistant': 'Agent', 'user': 'User'}
_FED = {A.TEMPLATE: 'template', A.SYSTEM: 'system', A.TOOL: 'tool',
        A.OTHER: 'other'}


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
  """One token: its text, who wrote it, and how sure they were.

  `author` is `agent` or `user` where a model sampled it, else what it was fed
  as; `doubt` is 1 - probability in fifths, for the shade, 0 where it was fed.
  """

  text: str
  author: str
  logp: float
  doubt: int


@dataclasses.dataclass(frozen=True, slots=True)
class Turn:
  """One message as it is shown; a tool result is a turn of its own."""

  speaker: str  # Agent, User, Tool
  side: types.Side  # whose turn, or whose call it answers
  text: str
  calls: tuple[str, ...]
  error: bool
  tokens: tuple[Token, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
  """An episode of one run, and how the run fared on the task."""

  run: str
  episode: types.Episode
  passed: int
  trials: int
  prompt: tuple[Token, ...]  # the agent's, its beginning
  prompt_length: int
  turns: tuple[Turn, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
  """A task with an episode of each run, and the rule that chose it."""

  rule: str
  task: types.Task
  shown: tuple[Shown, ...]


def turns(episode: types.Episode, piece: Piece) -> tuple[Turn, ...]:
  """The dialogue turn by turn.

  Args:
    episode: with or without traces.
    piece: text of a token id.
  """
  found = []
  for i, message in enumerate(episode.messages):
    side = message.requestor if message.role == 'tool' else message.role
    found.append(Turn(
        SPEAKERS.get(message.role, 'Tool'), side, message.content or '',
        tuple(map(_call, message.tool_calls)), message.error,
        tokens(episode, side, i, piece)))
  return tuple(found)


def _call(call: types.ToolCall) -> str:
  args = (f'{name}={json.dumps(value, ensure_ascii=False)}'
          for name, value in call.arguments.items())
  return f'{call.name}({", ".join(args)})'


def tokens(episode: types.Episode, side: types.Side, index: int,
           piece: Piece) -> tuple[Token, ...]:
  """Tokens of one message in the trace of the side whose it is.

  Args:
    episode: one side's trace is enough: what the other side said stands in
      it, but not what the other side was told.
    side: whose message it is.
    index: of the message; -1 is the system prompt.
    piece: text of a token id.
  """
  own = {'assistant': 'agent', 'user': 'user'}[side]
  for name in (own, 'agent', 'user') if index >= 0 else (own,):
    trace = getattr(episode, name)
    rows = () if trace is None else _rows(trace, index)
    if len(rows):
      return tuple(_token(trace, t, name, piece) for t in rows)
  return ()


def _rows(trace: types.Trace, index: int) -> np.ndarray:
  """Where a message stands: as it was said, if the history holds less of it."""
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
class Rule:
  """Which task to show, and which of its trials.

  `score` is given the task, its share of successes in the first and in the
  last run, and its share of faults of the user in the last; the task with the
  highest above 0 is shown.
  """

  name: str
  score: Callable[[types.Task, float, float, float], float]
  first: Callable[[types.Outcome], bool]  # the trial to show of that run
  last: Callable[[types.Outcome], bool]


_PASSED, _FAILED = (lambda o: o == O.SUCCESS), (lambda o: o != O.SUCCESS)
_FAULTY = lambda o: o == O.USER_FAULT
RULES = (
    Rule('Learned', lambda task, a, b, faults: b - a, _FAILED, _PASSED),
    Rule('Unlearned', lambda task, a, b, faults: a - b, _PASSED, _FAILED),
    Rule('Not solved', lambda task, a, b, faults: b == 0, _FAILED, _FAILED),
    Rule('User at fault', lambda task, a, b, faults: faults, _FAULTY, _FAULTY),
    Rule('Refusal, transfer or fallback',
         lambda task, a, b, faults: b * (task.kind != 'do'), _PASSED, _PASSED),
    Rule('Solved', lambda task, a, b, faults: b == 1, _PASSED, _PASSED),
)


def choose(tasks: Mapping[str, types.Task], runs: Mapping[str, Episodes], *,
           piece: Piece, count: int = 6) -> list[Case]:
  """A few tasks to read, by rules and not by hand.

  Args:
    tasks: by name.
    runs: one or two runs by label, the earlier first, on these tasks.
    piece: text of a token id.
    count: at most so many.

  Returns:
    the best task by each of `RULES`, then the second best; ties go by name.
  """
  first, last = list(runs.values())[0], list(runs.values())[-1]
  facts = {name: (_share(first[name], _PASSED), _share(last[name], _PASSED),
                  _share(last[name], _FAULTY))
           for name in sorted(tasks) if name in first and name in last}
  cases = []
  for rule in RULES * 2:
    scores = {name: rule.score(tasks[name], *found)
              for name, found in facts.items()}
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
          wanted: Callable[[types.Outcome], bool], piece: Piece) -> Shown:
  """The first trial that is wanted, or simply the first."""
  episode = next((e for e in episodes if wanted(e.outcome)), episodes[0])
  prompt = tokens(episode, 'assistant', -1, piece)
  return Shown(label, episode, sum(_PASSED(e.outcome) for e in episodes),
               len(episodes), prompt[:PROMPT], len(prompt),
               turns(episode, piece))
