"""Certifies a task: executes runs that show whether its verdict can be trusted.

The gold run must pass in every wording, and with its demands in another order;
doing nothing, refusing and handing over must fail, unless that is the task;
every mutant of the gold run (see `mutants.py`) must fail; and there must be a
verdict on all of these runs, because a checker that raises on a bad run would
hide it. Where several judges decide, such as a checker and a benchmark's own
evaluator, all must pass the gold run, and none a run that must fail.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import enum
import functools
import itertools
import random
from typing import NamedTuple

from agentrl import types
from agentrl.eigendata import source
from agentrl.eigendata.check import mutants
from agentrl.envs import checkers
from agentrl.envs import dialogue
from agentrl.envs import env as env_lib
from agentrl.envs import replay

Moves = list[types.Message]


class ProblemKind(enum.StrEnum):
  """Names problems of a task beside the mutants that pass."""

  GOLD_FAILS = 'gold run fails'
  GOLD_REFUSED = 'gold is refused'
  BREAKS = 'checker breaks'
  GIVING_UP_PASSES = 'passes to'
  NOTHING_FAILS = 'no wrong run fails'


class Problem(NamedTuple):
  """Describes evidence against a task.

  Attributes:
    kind: kind of the problem, or kind of the mutant that passes.
    detail: the problem in words, for the LLM that mends the checker.
  """

  kind: ProblemKind | mutants.MutantKind
  detail: str

  @property
  def passes_wrongly(self) -> bool:
    """Whether a wrong run passes."""
    return (self.kind == ProblemKind.GIVING_UP_PASSES
            or isinstance(self.kind, mutants.MutantKind))


BLIND = Problem(ProblemKind.NOTHING_FAILS, 'no wrong run fails: there is '
                'nothing to tell right from wrong')


def certify(env: source.WritableEnv, task: types.Task, seed: int, *,
            way_known: bool, script: Sequence[types.Beat] = ()
            ) -> tuple[types.Certificate | None, tuple[Problem, ...]]:
  """Executes all runs that the trust in a verdict rests on.

  Args:
    env: environment of the task; it gives the verdicts.
    task: task with its gold run.
    seed: seed of wordings and mutated values.
    way_known: whether the gold exchange is the one that the policy asks for.
      If not, the end state and the facts told decide alone.
    script: the gold exchange with all its wordings; () if the gold run of the
      task is the only one.

  Returns:
    the certificate, None if there is no verdict on some run; and all evidence
    against the task: with a problem, the certificate is worth nothing, unless
    the verdict is a benchmark's and cannot be mended.
  """
  rng = random.Random(seed)
  golds = _worded(script, rng) if script else []
  golds.append(list(task.gold.moves))
  orders = (_reordered_script(env, task, script, golds[0]) if script else
            _reordered_writes(task))
  floors = _floors(env, task, golds[0])
  wrong = list(mutants.make(env, task, golds[0], rng, way_known=way_known))
  runs = [*golds, *orders, *(moves for _, moves in floors),
          *(m.moves for m in wrong)]
  try:
    verdicts = iter(_judge(env, task, runs))
  except checkers.CheckerError as e:
    return None, (Problem(ProblemKind.BREAKS, f'the checker breaks: {e}'),)
  gold = tuple(map(all, itertools.islice(verdicts, len(golds))))
  ordered = tuple(map(all, itertools.islice(verdicts, len(orders))))
  given_up = _any_by_name([name for name, _ in floors], verdicts)
  passed = [m for m, verdict in zip(wrong, verdicts) if any(verdict)]
  survivors = [m for m in passed if not mutants.is_equivalent(
      env, task, m, golds[0], way_known=way_known)]
  certificate = types.Certificate(
      gold=gold, orders=ordered, floors=given_up, mutants=len(wrong),
      killed=len(wrong) - len(passed), equivalent=len(passed) - len(survivors),
      survivors=tuple(m.name for m in survivors),
      score=_score(len(wrong) - len(passed), len(survivors)),
      fingerprint=fingerprint(env))
  return certificate, (
      *_refused(env, task, golds[-1]),
      *_gold_problems(gold, ordered),
      *_floor_problems(task, given_up, way_known=way_known),
      *(Problem(m.kind, f'it passes with {m.name}') for m in survivors),
      *[BLIND] * (not certificate.killed))


@functools.lru_cache(maxsize=8)
def fingerprint(env: env_lib.Env) -> str:
  """Returns `env.fingerprint()`, which reads files, once for each process."""
  return env.fingerprint()


# --- The runs ---


def _worded(script: Sequence[types.Beat], rng: random.Random) -> list[Moves]:
  """Renders the gold run in a random wording, in the first and in the last.

  A wording that has an alternative is missing from one of the last two, so no
  checker passes that asks for it to the letter.
  """
  gold = replay.render(script, rng)
  return [gold, *(
      [move if beat.call else dataclasses.replace(move, content=beat.say[which])
       for beat, move in zip(script, gold, strict=True)] for which in (0, -1))]


def _reordered_script(env: source.WritableEnv, task: types.Task,
                      script: Sequence[types.Beat], gold: Moves
                      ) -> list[Moves]:
  """Renders the demands in reverse order, if the tools accept each call and the
  end state is the same."""
  *beats, bye = script
  demands = [[b for b in beats if b.demand == i and not b.opening]
             for i in range(bye.demand, -1, -1)]
  if len(demands) < 2 or dialogue.TRANSFER in bye.say[0]:
    return []  # after a hand-over no demand is served
  (first, *rest), *others = demands
  turned = [first, *(b for b in beats if b.opening), *rest,
            *itertools.chain(*others), bye]
  moves = replay.render(turned, random.Random(len(turned)))
  world, played = replay.replay(env, task, moves)
  same = world.state.changes() == replay.replay(
      env, task, gold)[0].state.changes()
  return [moves] if same and not any(m.error for m in played) else []


def _reordered_writes(task: types.Task) -> list[Moves]:
  """Puts the writes of the last demand first; other moves keep their places."""
  demands = [d.writes for d in task.demands if d.writes]
  if len(demands) < 2:
    return []
  moves = list(task.gold.moves)
  for place, i in zip(itertools.chain(*demands),
                      itertools.chain(*reversed(demands))):
    moves[place] = task.gold.moves[i]
  return [moves]


def _floors(env: source.WritableEnv, task: types.Task,
            gold: Moves) -> list[tuple[str, Moves]]:
  """Returns the ways to give up, each after the user's first words, if any."""
  def says(text: str) -> types.Message:
    return types.Message('assistant', text)
  def leaves(token: str) -> types.Message:
    return types.Message('user', token, requestor='user')
  begun = [m for m in gold[:1] if m.role == 'user' and not m.is_call]
  refusal = says('I am sorry, I cannot help with that.')
  handed = says('You are being transferred to a human.')
  return [('noop', [*begun, dialogue.GREETING, leaves(dialogue.STOP)]),
          ('refuse', [*begun, refusal, leaves(dialogue.STOP)]),
          *(('transfer', [
              *begun, types.Message('assistant', tool_calls=(call,)), handed,
              leaves(dialogue.TRANSFER)])
            for call in env_lib.transfers(env, task))]


def _judge(env: source.WritableEnv, task: types.Task,
           runs: Sequence[Moves]) -> list[list[bool]]:
  """Returns for each run whether each judge passes it.

  Raises:
    checkers.CheckerError: there is no sound verdict on one of them.
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


# --- The evidence ---


def _any_by_name(names: Sequence[str], verdicts: Iterator[Sequence[bool]]
                 ) -> dict[str, bool]:
  """Returns for each name whether a judge passes any of its runs."""
  passed = dict.fromkeys(names, False)
  for name in names:
    passed[name] |= any(next(verdicts))
  return passed


def _score(killed: int, survivors: int) -> float:
  """Returns the killed share of the mutants that are not equivalent."""
  return round(killed / max(1, killed + survivors), 4)


def _refused(env: source.WritableEnv, task: types.Task, gold: Moves
             ) -> list[Problem]:
  """Finds the first gold call that a tool refuses."""
  _, played = replay.replay(env, task, gold)
  return [Problem(ProblemKind.GOLD_REFUSED,
                  f'a gold call is refused: {m.content}')
          for m in played if m.role == 'tool' and m.error][:1]


def _gold_problems(gold: Sequence[bool], orders: Sequence[bool]
                   ) -> list[Problem]:
  return [
      *(Problem(ProblemKind.GOLD_FAILS, f'the gold run fails in wording {i}')
        for i, passed in enumerate(gold) if not passed),
      *(Problem(ProblemKind.GOLD_FAILS,
                'the gold run fails with its demands in another order')
        for passed in orders if not passed)]


def _floor_problems(task: types.Task, floors: Mapping[str, bool], *,
                    way_known: bool) -> list[Problem]:
  kinds = {d.kind for d in task.demands}
  allowed = {'transfer'} if kinds == {'transfer'} else set()
  if not way_known and kinds <= {'transfer', 'refuse'}:
    # An end state cannot tell a refusal from the rest, unless words must.
    allowed = set() if task.criteria.communicate_info else set(floors)
  return [Problem(ProblemKind.GIVING_UP_PASSES, f'it passes to {name}')
          for name, passed in floors.items() if passed and name not in allowed]
