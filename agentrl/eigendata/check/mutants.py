"""Mutants of a gold run: each has one thing wrong that a checker must see.

A write deleted, doubled, or with one argument changed to a value that is as
plausible; a change made without asking the user, or without the look-up that
the agent begins with; a fact left untold. And what the policy forbids, done;
and writes that no demand is about.

A mutant is *equivalent* if it ends in the same state and its changed call was
refused by the tool itself, or was the user's: there is nothing to see in it. Of
a domain without drafts nobody knows which way of doing things the policy asks
for: the end state and what was told decide there.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
import dataclasses
import enum
import functools
import json
import random
from typing import Any

from agentrl import jsons
from agentrl import types
from agentrl.envs import checkers
from agentrl.envs import domain
from agentrl.envs import replay

CANDIDATES = 30  # other values of an argument, the likeliest first
TRIED = 6  # of them, until a write with the value is accepted
_PRELUDE: dict[str, Any] = {}
exec(checkers.PRELUDE, _PRELUDE)  # ours; checkers go by the same functions

Moves = list[types.Message]


class MutantKind(enum.StrEnum):
  """The thing that is wrong in a mutant."""

  DELETED = 'deleted'
  DOUBLED = 'doubled'
  UNASKED = 'unasked'
  LEFT_OUT = 'left out'
  UNTOLD = 'untold'
  FORBIDDEN = 'forbidden'
  UNWANTED = 'unwanted'
  ARGUMENT = 'argument changed'


@dataclasses.dataclass(frozen=True, slots=True)
class Mutant:
  """A gold run with one thing changed.

  Attributes:
    kind: the kind of change.
    name: what was changed.
    moves: the changed run.
    by: whose move it was.
    place: of the call that is in question, None if one is missing.
    words: it is not the calls that are wrong, so no state shows it.
  """

  kind: MutantKind
  name: str
  moves: Moves
  by: types.Side = 'assistant'
  place: int | None = None
  words: bool = False


def make(env: domain.Domain, task: types.Task, gold: Moves,
         rng: random.Random) -> Iterator[Mutant]:
  """Every mutant of a gold run; `rng` draws the plausible values."""
  places = task.gold.writes
  for i in places:
    call, by = gold[i].tool_calls[0], gold[i].role
    yield Mutant(MutantKind.DELETED, f'{call.name} deleted',
                 gold[:i] + gold[i + 1:], by)
    yield Mutant(MutantKind.DOUBLED, f'{call.name} doubled',
                 gold[:i + 1] + gold[i:], by, i + 1)
    yield from _other_arguments(env, task, gold, i, rng)
    if asked := [v for k, v in task.gold.agreed if k == i]:
      yield Mutant(MutantKind.UNASKED, f'{call.name} unasked',
                   _unasked(gold, i, asked))
  first = first_call(gold)
  if env.drafts and first not in places and any(
      gold[i].role == 'assistant' for i in places):
    name = gold[first].tool_calls[0].name
    yield Mutant(MutantKind.LEFT_OUT, f'{name} left out',
                 gold[:first] + gold[first + 1:])
  for fact in task.criteria.communicate_info:
    yield Mutant(MutantKind.UNTOLD, f'{fact!r} untold',
                 [_without(m, fact) for m in gold], words=True)
  yield from _forbidden(task, gold)
  yield from _unwanted(env, task, gold, rng)


def entity(env: domain.Domain, otherwise: str = r'(?!)') -> str:
  """Pattern of the names of entities, if the domain has one."""
  return getattr(env.drafts, 'ENTITY', otherwise)  # or there are no drafts


def first_call(moves: Moves) -> int | None:
  """The place of the agent's first call."""
  return next((i for i, m in enumerate(moves)
               if m.is_call and m.role == 'assistant'), None)


def writes(env: domain.Domain, task: types.Task, moves: Moves) -> list[int]:
  """The places of the moves whose calls change the state."""
  world, found = env.start(task), []
  before = world.state.changes()
  for i, move in enumerate(moves):
    world.execute(move.tool_calls)
    after = world.state.changes()
    if after != before:
      found.append(i)
    before = after
  return found


def is_equivalent(env: domain.Domain, task: types.Task, mutant: Mutant,
                  gold: Moves) -> bool:
  """See the top; for mutants that passed."""
  world, played = replay.replay(env, task, mutant.moves)
  results = [m for m in played if m.role == 'tool'
             and m.id.startswith(f'{mutant.place}.')]
  refused = results and all(m.error for m in results)
  by_state = mutant.by == 'user' or not (env.drafts or mutant.words)
  if not by_state and not refused:
    return False
  end, _ = replay.replay(env, task, gold)
  return world.state.changes() == end.state.changes()


def agreed(moves: Moves, name: str, values: Iterable[str]) -> list[str]:
  """The values that the user heard of and answered right before each call of
  this name with them."""
  events = checkers.events(moves)
  return [v for v in values if _PRELUDE['confirmed'](events, name, v)]


def _unasked(gold: Moves, i: int, asked: Sequence[str]) -> Moves:
  """Without the last question before a call, or as many as it takes until
  the user has not agreed to all of it."""
  moves, name = gold[:i + 1], gold[i].tool_calls[0].name
  while len(agreed(moves, name, asked)) == len(asked):
    last = max(k for k, m in enumerate(moves)
               if m.role == 'assistant' and not m.is_call)
    moves = moves[:last] + [m for m in moves[last:] if m.is_call]
  return moves + gold[i + 1:]


def _without(move: types.Message, fact: str) -> types.Message:
  told = (move.content or '').lower()
  if move.role != 'assistant' or fact.lower() not in told:
    return move
  return dataclasses.replace(move, content='That is all.')


def _other_arguments(env: domain.Domain, task: types.Task, gold: Moves, i: int,
                     rng: random.Random) -> Iterator[Mutant]:
  """The write with another value for each argument: one that the tool takes,
  if there is such."""
  call = gold[i].tool_calls[0]
  world, played = replay.replay(env, task, gold[:i])
  shown = ' '.join(m.content or '' for m in played if m.role == 'tool')
  mark = world.state.mark()
  for name in call.arguments:
    other = None
    values = _alternatives(env, task, call, name, shown, rng)
    for value in values[:TRIED]:
      arguments = {**call.arguments, name: value}
      other = dataclasses.replace(call, arguments=arguments)
      world.state.rewind(mark)
      if not world.execute([other])[0].error:
        break
    if other is not None:
      move = dataclasses.replace(gold[i], tool_calls=(other,))
      yield Mutant(
          MutantKind.ARGUMENT, f'{call.name}({name}={other.arguments[name]!r})',
          gold[:i] + [move] + gold[i + 1:], move.role, i)


def _alternatives(env: domain.Domain, task: types.Task, call: types.ToolCall,
                  name: str, shown: str, rng: random.Random) -> list[Any]:
  """Other values of an argument, of the same type; the likeliest first."""
  value = call.arguments[name]
  choices = _schema(env, task, call)[name].get('enum', ())
  match value:
    case _ if choices:
      return [c for c in choices if c != value]
    case bool():
      return [not value]
    case int() | float():
      return [value + 1, value - 1]
    case str():
      return _like(env, task, value, shown, rng)
    case [str(first), *rest]:
      others = _like(env, task, first, shown, rng)
      return [[other, *rest] for other in others]
    case list() | dict():
      return list(_nested(env, task, value, shown, rng))[:CANDIDATES]
  return []


def _nested(env: domain.Domain, task: types.Task, value: Any, shown: str,
            rng: random.Random) -> Iterator[Any]:
  """A list or an object with one string somewhere in it changed, each once."""
  keys = list(value) if isinstance(value, dict) else range(len(value))
  for key in keys:
    match value[key]:
      case str():
        others = iter(_like(env, task, value[key], shown, rng)[:1])
      case list() | dict():
        others = _nested(env, task, value[key], shown, rng)
      case _:
        continue
    for other in others:
      changed = value.copy()
      changed[key] = other
      yield changed


def _forbidden(task: types.Task, gold: Moves) -> Iterator[Mutant]:
  """What each demand forbids: done before the goodbye, or in place of what it
  comes to; and all of it in a row, for a call may undo the one before."""
  bye = len(gold) - 1
  for demand in task.demands:
    moves = [types.Message('assistant', tool_calls=(c,))
             for c in demand.forbidden]
    own = demand.writes
    rest = [m for i, m in enumerate(gold) if i not in own]
    for move in moves:
      name = f'{move.tool_calls[0].name} forbidden'
      yield Mutant(MutantKind.FORBIDDEN, name,
                   [*gold[:bye], move, gold[bye]], place=bye)
      if own:
        yield Mutant(MutantKind.FORBIDDEN, f'{name}, instead',
                     [*rest[:own[0]], move, *rest[own[0]:]], place=own[0])
    if len(moves) > 1:
      name = ', '.join(m.tool_calls[0].name for m in moves)
      yield Mutant(MutantKind.FORBIDDEN, f'{name} forbidden',
                   [*gold[:bye], *moves, gold[bye]], place=bye)


def _unwanted(env: domain.Domain, task: types.Task, gold: Moves,
              rng: random.Random) -> Iterator[Mutant]:
  """Writes that no demand is about, before the goodbye, agreed to and beside
  all that the gold run changes: one by a tool that is neither used nor
  forbidden, about what other calls are about; and for each write of the agent
  one by the same tool, about something else."""
  world, played = replay.replay(env, task, gold)
  mark, before = world.state.mark(), world.state.changes()
  shown = ' '.join(m.content or '' for m in played if m.role == 'tool')
  again = [('another ', _about_others(env, task, gold[i].tool_calls[0], shown,
                                      rng))
           for i in task.gold.writes if gold[i].role == 'assistant']
  bye = len(gold) - 1
  for which, calls in (('', _unused(env, task, gold, rng)), *again):
    for call in calls:
      world.execute([call])
      after = world.state.changes()
      if after == before:
        continue
      if {**after, **before} == after:
        yield Mutant(MutantKind.UNWANTED, f'{which}{call.name} unwanted',
                     [*gold[:bye], *_agreed(call), gold[bye]], place=bye + 2)
        break
      world.state.rewind(mark)
    world.state.rewind(mark)


def _agreed(call: types.ToolCall) -> Moves:
  """A call of the agent, after it has asked and the user has said yes."""
  about = ', '.join(map(str, call.arguments.values()))
  return [types.Message('assistant', f'Shall I do this, too: {about}?'),
          types.Message('user', 'Yes.', requestor='user'),
          types.Message('assistant', tool_calls=(call,))]


def _unused(env: domain.Domain, task: types.Task, gold: Moves,
            rng: random.Random) -> Iterator[types.ToolCall]:
  """A call of each tool that is neither used nor forbidden."""
  calls = [c for m in gold for c in m.tool_calls]
  known = {k: v for c in calls for k, v in c.arguments.items()}
  named = {c.name for c in calls} | {
      c.name for d in task.demands for c in d.forbidden}
  others = [s['function'] for s in env.tools('assistant', task)
            if s['function']['name'] not in named]
  for tool in rng.sample(others, len(others)):
    fields = tool['parameters']['properties']
    yield types.ToolCall(tool['name'], {
        name: known.get(name, (field.get('enum') or [None])[-1])
        for name, field in fields.items()})


def _about_others(env: domain.Domain, task: types.Task, call: types.ToolCall,
                  shown: str, rng: random.Random) -> Iterator[types.ToolCall]:
  """The call with another value for one argument."""
  for name in call.arguments:
    for value in _alternatives(env, task, call, name, shown, rng):
      yield dataclasses.replace(
          call, arguments={**call.arguments, name: value})


def _schema(env: domain.Domain, task: types.Task,
            call: types.ToolCall) -> dict[str, Any]:
  """JSON schemas of the arguments of a tool."""
  return next(s['function']['parameters']['properties']
              for s in env.tools(call.requestor, task)
              if s['function']['name'] == call.name)


def _like(env: domain.Domain, task: types.Task, value: str, shown: str,
          rng: random.Random) -> list[str]:
  """Strings of the same columns of the database; first those shown by tools."""
  columns, places = _columns(env, jsons.dumps(task.initial_state or {}))
  peers = sorted({peer for place in places.get(value, ())
                  for peer in columns[place]} - {value})
  near = [p for p in peers if p in shown]
  far = rng.sample(peers, min(CANDIDATES, len(peers)))
  return [*rng.sample(near, len(near)), *far][:CANDIDATES] or [f'{value} x']


def strings(env: domain.Domain, start: Mapping[str, Any]) -> Set[str]:
  """All strings of the database of an initial state, keys included."""
  return _columns(env, jsons.dumps(start))[1].keys()


@functools.lru_cache(maxsize=256)
def _columns(env: domain.Domain, start: str
             ) -> tuple[dict[str, set[str]], dict[str, list[str]]]:
  """The strings of each column, keys included, and the columns of each."""
  columns: dict[str, set[str]] = collections.defaultdict(set)
  for table, records in env.tables(**json.loads(start)).items():
    columns[table] = set(records)
    for record in records.values():
      for field, value in record.items():
        for column, word in _strings(f'{table}.{field}', value):
          columns[column].add(word)
  places: dict[str, list[str]] = {}
  for column, values in columns.items():
    for value in values:
      places.setdefault(value, []).append(column)
  return columns, places


def _strings(column: str, value: Any) -> Iterator[tuple[str, str]]:
  """(column, string) of all in a field; the keys of an object of objects are
  strings of its column, those of a record are columns."""
  match value:
    case str():
      yield column, value
    case list():
      for item in value:
        yield from _strings(column, item)
    case dict():
      is_table = all(isinstance(v, dict) for v in value.values())
      for key, item in value.items():
        if is_table:
          yield column, key
        yield from _strings(column if is_table else f'{column}.{key}', item)
