"""Dialogues for people: which ones to show, turn by turn, token by token."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import json
import math

from agentrl import types

A, O = types.Author, types.Outcome
Piece = Callable[[int], str]
Episodes = Mapping[str, Sequence[types.Episode]]  # by name of the task

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
  prompt: tuple[Token, ...]  # what the agent was told before it began
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
    episode: one side's trace is enough: what the other side said stands in it.
    side: whose message it is.
    index: of the message; -1 is the system prompt.
    piece: text of a token id.
  """
  own = {'assistant': 'agent', 'user': 'user'}[side]
  for name in (own, 'agent', 'user'):
    trace = getattr(episode, name)
    rows = () if trace is None else (trace.turn_T == index).nonzero()[0]
    if len(rows):
      return tuple(_token(trace, t, name, piece) for t in rows)
  return ()


def _token(trace: types.Trace, t: int, side: str, piece: Piece) -> Token:
  author = A(int(trace.author_T[t]))
  logp = float(trace.logp_T[t])
  sampled = author == A.SELF
  return Token(piece(int(trace.ids_T[t])),
               side if sampled else _FED.get(author, 'template'), logp,
               math.ceil(5 * (1 - math.exp(logp))) if sampled else 0)


def choose(tasks: Mapping[str, types.Task], runs: Mapping[str, Episodes], *,
           piece: Piece, count: int = 6) -> list[Case]:
  """A few tasks to read, by rules and not by hand.

  Args:
    tasks: by name.
    runs: one or two runs by label, the earlier first, on these tasks.
    piece: text of a token id.
    count: at most so many.

  Returns:
    tasks that were learned, got worse, are not solved, ended by a fault of the
    user, or ask to be refused; ties go by name.
  """
  first, last = list(runs.values())[0], list(runs.values())[-1]
  names = sorted(name for name in tasks if all(name in r for r in runs.values()))
  gain = {n: _rate(last[n]) - _rate(first[n]) for n in names}
  faults = {n: _count(last[n], O.USER_FAULT) for n in names}
  solved = [n for n in names if _rate(last[n]) == 1]
  rules = [
      ('Learned', [n for n in names if gain[n] > 0], lambda n: -gain[n]),
      ('Unlearned', [n for n in names if gain[n] < 0], lambda n: gain[n]),
      ('Not solved', [n for n in names if _rate(last[n]) == 0],
       lambda n: _rate(first[n])),
      ('User at fault', [n for n in names if faults[n]],
       lambda n: -faults[n]),
      ('Refusal, transfer or fallback',
       [n for n in solved if tasks[n].kind != 'do'], len),
      ('Solved', solved, len)]
  cases, taken = [], set()
  for turn in range(count):  # the first of each rule, then the second
    for rule, fitting, key in rules:
      left = [n for n in sorted(fitting, key=key) if n not in taken]
      if left and len(cases) < count and turn < 2:
        taken.add(left[0])
        cases.append(Case(rule, tasks[left[0]], tuple(
            _show(label, rule, episodes[left[0]], piece, label == list(runs)[-1])
            for label, episodes in runs.items())))
  return cases


def _rate(episodes: Sequence[types.Episode]) -> float:
  return _count(episodes, O.SUCCESS) / len(episodes)


def _count(episodes: Iterable[types.Episode], outcome: types.Outcome) -> int:
  return sum(e.outcome == outcome for e in episodes)


def _show(label: str, rule: str, episodes: Sequence[types.Episode],
          piece: Piece, is_last: bool) -> Shown:
  """The trial that shows what the rule is about; else the first."""
  success = lambda e: e.outcome == O.SUCCESS
  failure = lambda e: e.outcome != O.SUCCESS
  wanted = {'Learned': success if is_last else failure,
            'Unlearned': failure if is_last else success,
            'Not solved': failure,
            'User at fault': lambda e: e.outcome == O.USER_FAULT,
            }.get(rule, success)
  episode = next(filter(wanted, episodes), episodes[0])
  return Shown(label, episode, _count(episodes, O.SUCCESS), len(episodes),
               tokens(episode, 'assistant', -1, piece), turns(episode, piece))
