"""Makes mutants of a gold run: each has one fault that a verdict must see.

A write deleted, doubled, or with one value changed to another plausible one; a
change made without asking the user, or without the look-up that the agent
begins with; a fact left untold. Also calls that the policy forbids, and writes
that no demand is about.

A mutant is *equivalent* if it ends in the same state and its changed call was
refused by the tool itself, or was the user's: no verdict can see it. Where the
way of doing things that the policy asks for is not known, the end state and the
facts told decide alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
import dataclasses
import enum
import random
from typing import Any

from agentrl import types
from agentrl.eigendata import source
from agentrl.eigendata.check import values
from agentrl.envs import checkers
from agentrl.envs import replay

TRIED = 6  # values for a place, until the tool accepts a write with one
_PRELUDE: dict[str, Any] = {}
exec(checkers.PRELUDE, _PRELUDE)  # ours; checkers go by the same functions

Moves = list[types.Message]


class MutantKind(enum.StrEnum):
  """Names the thing that is wrong in a mutant."""

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
  """Holds a gold run with one thing changed.

  Attributes:
    kind: kind of the change.
    name: the change in words.
    moves: the changed run.
    by: side whose move was changed.
    place: place of the changed call, None if one is missing.
    words: whether words are wrong instead of calls, so that no state shows it.
  """

  kind: MutantKind
  name: str
  moves: Moves
  by: types.Side = 'assistant'
  place: int | None = None
  words: bool = False


def make(env: source.WritableEnv, task: types.Task, gold: Moves,
         rng: random.Random, *, way_known: bool) -> Iterator[Mutant]:
  """Yields every mutant of a gold run.

  Args:
    env: environment of the task.
    task: task with its gold run.
    gold: the gold run in some wording.
    rng: draws the plausible values.
    way_known: whether the exchange is the one that the policy asks for.
  """
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
  if way_known and first not in places and any(
      gold[i].role == 'assistant' for i in places):
    name = gold[first].tool_calls[0].name
    yield Mutant(MutantKind.LEFT_OUT, f'{name} left out',
                 gold[:first] + gold[first + 1:])
  for fact in task.criteria.communicate_info:
    yield Mutant(MutantKind.UNTOLD, f'{fact!r} untold',
                 [_without(m, fact) for m in gold], words=True)
  yield from _forbidden(task, gold)
  yield from _unwanted(env, task, gold, rng)


def is_equivalent(env: source.WritableEnv, task: types.Task, mutant: Mutant,
                  gold: Moves, *, way_known: bool) -> bool:
  """Returns whether a mutant that passed is equivalent to the gold run."""
  world, played = replay.replay(env, task, mutant.moves)
  results = [m for m in played if m.role == 'tool'
             and m.id.startswith(f'{mutant.place}.')]
  refused = results and all(m.error for m in results)
  by_state = mutant.by == 'user' or not (way_known or mutant.words)
  if not by_state and not refused:
    return False
  end, _ = replay.replay(env, task, gold)
  return world.state.changes() == end.state.changes()


def first_call(moves: Moves) -> int | None:
  """Returns the place of the agent's first call."""
  return next((i for i, m in enumerate(moves)
               if m.is_call and m.role == 'assistant'), None)


def writes(env: source.WritableEnv, task: types.Task, moves: Moves
           ) -> list[int]:
  """Returns the places of the moves whose calls change the state."""
  world, places = env.start(task), []
  before = world.state.changes()
  for i, move in enumerate(moves):
    world.execute(move.tool_calls)
    after = world.state.changes()
    if after != before:
      places.append(i)
    before = after
  return places


def agreed(moves: Moves, name: str, told: Iterable[str]) -> list[str]:
  """Returns the values that the user heard and agreed to right before each
  call of this name with them."""
  events = checkers.events(moves)
  return [v for v in told if _PRELUDE['confirmed'](events, name, v)]


def _unasked(gold: Moves, i: int, asked: Sequence[str]) -> Moves:
  """Removes the last question before a call, or as many as it takes until the
  user has not agreed to every value."""
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


def _other_arguments(env: source.WritableEnv, task: types.Task, gold: Moves,
                     i: int, rng: random.Random) -> Iterator[Mutant]:
  """Yields the write with another value in each place of its arguments: one
  that the tool accepts, if there is any."""
  call = gold[i].tool_calls[0]
  world, played = replay.replay(env, task, gold[:i])
  proposer = values.Proposer(env, task, _shown(played), rng)
  mark = world.state.mark()
  for name in call.arguments:
    for candidates in proposer.variants(call, name):
      other = None
      for value in candidates[:TRIED]:
        other = dataclasses.replace(
            call, arguments={**call.arguments, name: value})
        world.state.rewind(mark)
        if not world.execute([other])[0].error:
          break
      if other is not None:
        move = dataclasses.replace(gold[i], tool_calls=(other,))
        yield Mutant(
            MutantKind.ARGUMENT,
            f'{call.name}({name}={other.arguments[name]!r})',
            gold[:i] + [move] + gold[i + 1:], move.role, i)


def _shown(played: Iterable[types.Message]) -> str:
  """Returns the text of all tool results."""
  return ' '.join(m.content or '' for m in played if m.role == 'tool')


def _forbidden(task: types.Task, gold: Moves) -> Iterator[Mutant]:
  """Yields runs with forbidden calls of each demand: one before the goodbye,
  one in place of the demand's writes, and all of them in a row, because a call
  may undo the one before."""
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


def _unwanted(env: source.WritableEnv, task: types.Task, gold: Moves,
              rng: random.Random) -> Iterator[Mutant]:
  """Yields runs with a write that no demand is about.

  The write comes before the goodbye, the user agrees to it, and it leaves the
  changes of the gold run in place. One is by a tool that is neither used nor
  forbidden, with the arguments of other calls; and for each write of the agent
  one is by the same tool, with another value.
  """
  world, played = replay.replay(env, task, gold)
  mark, before = world.state.mark(), world.state.changes()
  proposer = values.Proposer(env, task, _shown(played), rng)
  again = [('another ', proposer.calls_about_others(gold[i].tool_calls[0]))
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
  """Returns the agent's question, the user's yes and the call."""
  about = ', '.join(map(str, call.arguments.values()))
  return [types.Message('assistant', f'Shall I do this, too: {about}?'),
          types.Message('user', 'Yes.', requestor='user'),
          types.Message('assistant', tool_calls=(call,))]


def _unused(env: source.WritableEnv, task: types.Task, gold: Moves,
            rng: random.Random) -> Iterator[types.ToolCall]:
  """Yields a call of each tool that is neither used nor forbidden."""
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
