"""The certificate of a task: what was executed to trust its checker.

The gold run must pass in every wording, and with its demands in another order
where that leads to the same state; doing nothing, refusing and handing
over must fail, unless that is the task; every mutant of the gold run
(see `mutants.py`) must fail; and the checker must give a verdict on all of
them, for one that raises on a bad run would hide it. Where a benchmark judges
by its own evaluator as well, both must pass the gold run, and neither anything
that is to fail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import enum
import functools
import itertools
import random
from typing import NamedTuple

from agentrl import types
from agentrl.eigendata.check import mutants
from agentrl.envs import checkers
from agentrl.envs import dialogue
from agentrl.envs import domain
from agentrl.envs import env as env_lib
from agentrl.envs import replay

GOLDS = 4  # wordings of the gold run; other orders of it follow
Moves = list[types.Message]


class ProblemKind(enum.StrEnum):
  """Problems of a checker beside the mutants that it passes."""

  GOLD_FAILS = 'gold run fails'
  BREAKS = 'checker breaks'
  GIVING_UP_PASSES = 'passes to'
  NOTHING_FAILS = 'no wrong run fails'


class Problem(NamedTuple):
  """Something that speaks against a checker.

  Attributes:
    kind: of a wrong run that passes, the kind of its mutant.
    detail: the problem in words, for the LLM that mends the checker.
  """

  kind: ProblemKind | mutants.MutantKind
  detail: str

  @property
  def passes_wrongly(self) -> bool:
    """Whether a wrong run passes."""
    return self.kind not in (ProblemKind.GOLD_FAILS, ProblemKind.BREAKS,
                             ProblemKind.NOTHING_FAILS)


BLIND = Problem(ProblemKind.NOTHING_FAILS, 'no wrong run fails: there is '
                'nothing to tell right from wrong')


def certify(env: domain.Domain, task: types.Task, script: Sequence[types.Beat],
            seed: int) -> tuple[types.Certificate | None, tuple[Problem, ...]]:
  """Executes everything that the trust in a checker rests on.

  Args:
    env: of the task.
    task: with its checker.
    script: the gold beats.
    seed: of wordings and mutated values.

  Returns:
    the certificate, None if the checker breaks; and everything that speaks
    against the task: with a problem, the certificate is worth nothing.
  """
  rng = random.Random(seed)
  golds = [replay.render(script, rng)]
  golds += [_worded(script, golds[0], which) for which in (0, -1)]
  golds.append(list(task.gold.moves))
  orders = _reordered(env, task, script, golds[0])
  floors = _floors(env, task, golds[0])
  changed = list(mutants.make(env, task, golds[0], rng))
  runs = [*golds, *orders, *(moves for _, moves in floors),
          *(m.moves for m in changed)]
  try:
    verdicts = iter(_judge(env, task, runs))
  except checkers.CheckerError as e:
    return None, (Problem(ProblemKind.BREAKS, f'the checker breaks: {e}'),)
  gold = list(map(all, itertools.islice(verdicts, len(golds))))
  ordered = list(map(all, itertools.islice(verdicts, len(orders))))
  given_up = {}
  for name, _ in floors:
    given_up[name] = given_up.get(name, False) | any(next(verdicts))
  passed = [m for m, verdict in zip(changed, verdicts) if any(verdict)]
  survivors = [m for m in passed
               if not mutants.is_equivalent(env, task, m, golds[0])]
  killed = len(changed) - len(passed)
  problems = _problems(env, task, gold + ordered, given_up,
                       survivors=survivors)
  return types.Certificate(
      gold=tuple(gold), orders=tuple(ordered), floors=given_up,
      mutants=len(changed), killed=killed,
      equivalent=len(passed) - len(survivors),
      survivors=tuple(m.name for m in survivors),
      score=round(killed / max(1, killed + len(survivors)), 4),
      fingerprint=fingerprint(env)), (*problems, *[BLIND] * (not killed))


def _worded(script: Sequence[types.Beat], gold: Moves, which: int) -> Moves:
  """The gold run with the same wording of every beat, the first or the last: a
  wording that has an alternative is missing from one of the two, so that no
  checker passes which asks for it to the letter."""
  return [move if beat.call else
          dataclasses.replace(move, content=beat.say[which])
          for beat, move in zip(script, gold, strict=True)]


def _reordered(env: domain.Domain, task: types.Task,
               script: Sequence[types.Beat], gold: Moves) -> list[Moves]:
  """The gold run with its demands in the reverse order, if each call is still
  taken and the end is the same."""
  *beats, bye = script
  demands = [[b for b in beats if b.demand == i and not b.opening]
             for i in range(bye.demand, -1, -1)]
  if len(demands) < 2 or dialogue.TRANSFER in bye.say[0]:
    return []  # who is handed over is not served any more
  (first, *rest), *others = demands
  turned = [first, *(b for b in beats if b.opening), *rest,
            *itertools.chain(*others), bye]
  moves = replay.render(turned, random.Random(len(turned)))
  world, played = replay.replay(env, task, moves)
  same = world.state.changes() == replay.replay(
      env, task, gold)[0].state.changes()
  return [moves] if same and not any(m.error for m in played) else []


@functools.lru_cache(maxsize=8)
def fingerprint(env: domain.Domain) -> str:
  """`env.fingerprint()`, which reads files, once for each process."""
  return env.fingerprint()


def _judge(env: domain.Domain, task: types.Task,
           runs: Sequence[Moves]) -> list[list[bool]]:
  """Whether the checker passes each run, and a benchmark's own evaluator.

  Raises:
    checkers.CheckerError: it gives no sound verdict on one of them.
  """
  verdicts = []
  for moves in runs:
    world, played = replay.replay(env, task, moves)
    # Each in a sandbox of its own: a checker that counts its calls could tell
    # the gold run, which is the first, from the others.
    scores = env.verdicts(task, world, played)
    if broken := [score.error for score in scores if score.error]:
      raise checkers.CheckerError(broken[0])
    verdicts.append([score.reward == 1 for score in scores])
  return verdicts


def _problems(env: domain.Domain, task: types.Task, gold: Sequence[bool],
              floors: Mapping[str, bool], *,
              survivors: Sequence[mutants.Mutant]) -> list[Problem]:
  kinds = {d.kind for d in task.demands}
  allowed = {'transfer'} if kinds == {'transfer'} else set()
  if not env.drafts and kinds <= {'transfer', 'refuse'}:
    # An end state cannot tell a refusal from the rest, unless words must.
    allowed = set() if task.criteria.communicate_info else set(floors)
  return ([Problem(ProblemKind.GOLD_FAILS,
                   f'the gold run fails in wording {i}' if i < GOLDS else
                   'the gold run fails with its demands in another order')
           for i, passed in enumerate(gold) if not passed]
          + [Problem(ProblemKind.GIVING_UP_PASSES, f'it passes to {name}')
             for name, passed in floors.items()
             if passed and name not in allowed]
          + [Problem(m.kind, f'it passes with {m.name}') for m in survivors])


def _floors(env: domain.Domain, task: types.Task,
            gold: Moves) -> list[tuple[str, Moves]]:
  """Ways to give up, each after the user's first words."""
  def says(text: str) -> types.Message:
    return types.Message('assistant', text)
  def leaves(token: str) -> types.Message:
    return types.Message('user', token, requestor='user')
  refusal = says('I am sorry, I cannot help with that.')
  handed = says('You are being transferred to a human.')
  return [('noop', [gold[0], dialogue.GREETING, leaves(dialogue.STOP)]),
          ('refuse', [gold[0], refusal, leaves(dialogue.STOP)]),
          *(('transfer', [
              gold[0], types.Message('assistant', tool_calls=(call,)), handed,
              leaves(dialogue.TRANSFER)])
            for call in env_lib.transfers(env, task))]
