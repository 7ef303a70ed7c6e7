"""The certificate of a task: what was executed to trust its checker.

The gold run must pass in every wording; doing nothing, refusing and handing
over must fail, unless handing over is the task; and every mutant of the gold
run must fail: a write deleted, doubled or with another argument, a fact left
untold, a change made without asking.

A mutant is *equivalent* if it ends in the same state and its changed call was
refused by the tool itself, or was the user's: there is nothing to find in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import functools
import itertools
import random
import re
from typing import Any

from agentrl import types
from agentrl.eigendata import replay
from agentrl.envs import checkers
from agentrl.envs import dialogue
from agentrl.envs import domain

Moves = list[types.Message]
TRANSFER_TOOL = 'transfer_to_human'
_PRELUDE: dict[str, Any] = {}
exec(checkers.PRELUDE, _PRELUDE)  # ours, and so what checkers go by
CANDIDATES = 6  # values tried for an argument until the tool accepts one


@dataclasses.dataclass(frozen=True, slots=True)
class Mutant:
  """A changed gold run; `place` is the move that was changed."""

  name: str
  moves: Moves
  place: int = -1


def certify(env: domain.Domain, task: types.Task, script: Sequence[Any],
            seed: int, wordings: int = 3) -> dict[str, Any]:
  """Executes everything that the trust in a checker rests on.

  Args:
    env: of the task.
    task: with its checker.
    script: the gold beats.
    seed: of wordings and mutated values.
    wordings: in how many the gold run must pass.

  Returns:
    gold: verdict of each wording; floors: verdict of each way to give up;
    mutants, killed, equivalent: counts; survivors: names; score: killed share
    of the mutants that are not equivalent; problems: all that speaks against
    the task, in words; fingerprint: of the environment it holds for.
  """
  rng = random.Random(seed)
  golds = [replay.render(script, rng) for _ in range(wordings)]
  verdicts = [_passes(env, task, moves) for moves in golds]
  floors = {name: any(_passes(env, task, moves) for moves in ways)
            for name, ways in _floors(env, task, golds[0]).items()}
  killed, equivalent, survivors = 0, 0, []
  end, _ = replay.replay(env, task, golds[0])
  for mutant in mutants(env, task, golds[0], rng):
    if not _passes(env, task, mutant.moves):
      killed += 1
    elif _equivalent(env, task, mutant, end.state.changes()):
      equivalent += 1
    else:
      survivors.append(mutant.name)
  allowed = {'transfer'} if _only_transfers(task) else set()
  problems = [f'the gold run fails in wording {i}'
              for i, passed in enumerate(verdicts) if not passed]
  problems += [f'it passes to {name}' for name, passed in floors.items()
               if passed and name not in allowed]
  problems += [f'it passes with {name}' for name in survivors]
  return {'gold': verdicts, 'floors': floors, 'killed': killed,
          'mutants': killed + equivalent + len(survivors),
          'equivalent': equivalent, 'survivors': survivors,
          'score': round(killed / max(1, killed + len(survivors)), 4),
          'problems': problems, 'fingerprint': fingerprint(env)}


@functools.lru_cache(maxsize=8)
def fingerprint(env: domain.Domain) -> str:
  return env.fingerprint()


def _passes(env: domain.Domain, task: types.Task, moves: Moves) -> bool:
  world, played = replay.replay(env, task, moves)
  return env.score(task, world, played, 'user_stop').reward == 1


def _only_transfers(task: types.Task) -> bool:
  return all(d['kind'] == 'transfer' for d in task.meta['demands'])


def _equivalent(env: domain.Domain, task: types.Task, mutant: Mutant,
                changes: Mapping[str, Any]) -> bool:
  """See the top; `place` is -1 for mutants that always matter."""
  if mutant.place < 0:
    return False
  world, played = replay.replay(env, task, mutant.moves)
  harmless = mutant.moves[mutant.place].role == 'user' or all(
      m.error for m in played
      if m.role == 'tool' and m.id.startswith(f'{mutant.place}.'))
  return harmless and world.state.changes() == dict(changes)


def _floors(env: domain.Domain, task: types.Task,
            gold: Moves) -> dict[str, list[Moves]]:
  """Ways to give up, each after the user's first words."""
  def says(text: str) -> types.Message:
    return types.Message('assistant', text)
  opening, stop = gold[0], types.Message('user', dialogue.STOP)
  handed = types.Message('user', dialogue.TRANSFER)
  refusal = says('I am sorry, I cannot help with that.')
  transfers = [
      [opening, types.Message('assistant', tool_calls=(call,)),
       says('You are being transferred to a human.'), handed]
      for call in _transfers(env, task)]
  return {'noop': [[opening, dialogue.GREETING, stop]],
          'refuse': [[opening, refusal, stop]], 'transfer': transfers}


def _transfers(env: domain.Domain, task: types.Task) -> list[types.ToolCall]:
  """Every way to hand over; a plea where the reason is free text."""
  found = []
  for schema in env.tools('assistant', task):
    function = schema['function']
    if function['name'].startswith(TRANSFER_TOOL):
      props = function['parameters'].get('properties', {})
      choices = [p.get('enum', ['The customer asks for a human.'])
                 for p in props.values()]
      found += [types.ToolCall(function['name'], dict(zip(props, values)))
                for values in itertools.product(*choices)]
  return found


def mutants(env: domain.Domain, task: types.Task, gold: Moves,
            rng: random.Random) -> Iterator[Mutant]:
  """Every mutant of a gold run."""
  for i in replay.writes(env, task, gold):
    call = gold[i].tool_calls[0]
    yield Mutant(f'{call.name} deleted', gold[:i] + gold[i + 1:])
    yield Mutant(f'{call.name} doubled', gold[:i + 1] + gold[i:], i + 1)
    for name in call.arguments:
      yield from _other_argument(env, task, gold, i, name, rng)
    if agreed(env, gold, call):
      silent = [m for m in gold[:i] if m.role != 'assistant' or m.is_call]
      yield Mutant(f'{call.name} unasked', silent + gold[i:])
  for fact in task.criteria.communicate_info:
    yield Mutant(f'{fact!r} untold', [_without(m, fact) for m in gold])


def agreed(env: domain.Domain, moves: Moves, call: types.ToolCall) -> list[str]:
  """The entities of a call that were named to the user before it was made."""
  pattern = getattr(env.drafts, 'ENTITY', r'.+')
  return [v for v in call.arguments.values()
          if isinstance(v, str) and re.fullmatch(pattern, v)
          and call.requestor == 'assistant'
          and _PRELUDE['confirmed'](checkers.events(moves), call.name, v)]


def _without(move: types.Message, fact: str) -> types.Message:
  if move.role != 'assistant' or fact.lower() not in (move.content or '').lower():
    return move
  return dataclasses.replace(move, content='That is all.')


def _other_argument(env: domain.Domain, task: types.Task, gold: Moves, i: int,
                    name: str, rng: random.Random) -> Iterator[Mutant]:
  """The write with another plausible value: one that the tool accepts, if any."""
  call, tried = gold[i].tool_calls[0], []
  for value in _alternatives(env, task, gold[:i], call, name, rng):
    other = dataclasses.replace(call, arguments={**call.arguments, name: value})
    move = dataclasses.replace(gold[i], tool_calls=(other,))
    tried.append(Mutant(f'{call.name}({name}={value!r})',
                        gold[:i] + [move] + gold[i + 1:], i))
    _, played = replay.replay(env, task, tried[-1].moves[:i + 1])
    if not played[-1].error:
      break
  yield from tried[-1:]


def _alternatives(env: domain.Domain, task: types.Task, before: Moves,
                  call: types.ToolCall, name: str, rng: random.Random
                 ) -> list[Any]:
  """Other values of an argument, of the same type; the likeliest first."""
  value = call.arguments[name]
  schema = next(s['function'] for s in env.tools(call.requestor, task)
                if s['function']['name'] == call.name)
  choices = schema['parameters']['properties'][name].get('enum', ())
  match value:
    case bool():
      return [not value]
    case int() | float():
      return [value + 1, value - 1]
    case str() if choices:
      return [c for c in choices if c != value]
    case str():
      return _like(env, task, before, value, rng)
    case [first, *rest]:
      others = _like(env, task, before, first, rng)[:CANDIDATES // 2]
      return [[other, *rest] for other in others] + [[first, *rest, *others[:1]]]
  return []


def _like(env: domain.Domain, task: types.Task, before: Moves, value: str,
          rng: random.Random) -> list[str]:
  """Strings of the same columns of the database; first those that were seen."""
  table = _columns(env, **task.initial_state)
  peers = sorted({other for column in table['of'].get(value, ())
                  for other in table['in'][column]} - {value})
  _, played = replay.replay(env, task, before)
  seen = ' '.join(m.content or '' for m in played if m.role == 'tool')
  shown = [p for p in peers if p in seen]
  rest = rng.sample(peers, min(CANDIDATES, len(peers)))
  return (rng.sample(shown, len(shown)) + rest)[:CANDIDATES] or [value + ' x']


@functools.lru_cache(maxsize=8)
def _columns(env: domain.Domain, seed: int, split: str) -> dict[str, Any]:
  """Which columns a string stands in, and which strings in a column."""
  columns: dict[str, set[str]] = {}
  for table, records in env.tables(seed, split).items():
    columns[table] = set(records)
    for record in records.values():
      for field, value in record.items():
        if isinstance(value, str):
          columns.setdefault(f'{table}.{field}', set()).add(value)
  of: dict[str, list[str]] = {}
  for column, values in columns.items():
    for value in values:
      of.setdefault(value, []).append(column)
  return {'in': columns, 'of': of}
