"""Certifies tasks of tau2-bench, whose verdict is the benchmark's own.

The evaluator cannot be mended. So the certificate of one of the benchmark's own
tasks reports which wrong runs it passes, while a generated task is kept only if
there are none, and if the evaluator sees each of its demands.
"""

from __future__ import annotations

import dataclasses

from agentrl import jsons
from agentrl import seeds
from agentrl import types
from agentrl.eigendata import rejection
from agentrl.eigendata.check import certify
from agentrl.eigendata.check import mutants
from agentrl.eigendata.tau2 import domain as tau2_domain
from agentrl.envs import dialogue
from agentrl.envs import replay

# Why the evaluator does not see a demand.
NEEDLESS = 'a write changes nothing'
TOLD_ANYWAY = 'a fact is told anyway'
FORBIDDEN_PASSES = 'the forbidden passes'

Moves = list[types.Message]


def with_certificate(env: tau2_domain.Tau2Domain, task: types.Task
                     ) -> types.Task:
  """Returns one of the benchmark's tasks with gold run and certificate.

  Raises:
    ValueError: the evaluator fails on one of the runs.
  """
  task = dataclasses.replace(task, gold=_gold_run(env, task))
  certificate, problems = _certify(env, task)
  if certificate is None:
    raise ValueError(f'Task {task.id} cannot be judged: {problems[0].detail}')
  return dataclasses.replace(task, certificate=certificate)


def require_certificate(env: tau2_domain.Tau2Domain, task: types.Task
                        ) -> types.Task:
  """Returns a generated task, which has its gold run, with its certificate.

  Raises:
    SampleRejected: the verdict on it cannot be trusted.
  """
  certificate, problems = _certify(env, task)
  # Without writes and facts every run that changes nothing passes, rightly; and
  # there may be no wrong run to try.
  asked = task.gold.writes or task.criteria.communicate_info
  problems = [p for p in problems
              if asked or p.kind != certify.ProblemKind.NOTHING_FAILS]
  if problems:
    raise rejection.SampleRejected(
        types.Worker.CERTIFICATE, problems[0].kind,
        f'{task.id}: {problems[0].detail}', (p.kind for p in problems))
  if why := _unseen(env, task):
    raise rejection.SampleRejected(types.Worker.CERTIFICATE, why, task.id)
  return dataclasses.replace(task, certificate=certificate)


def _certify(env: tau2_domain.Tau2Domain, task: types.Task
             ) -> tuple[types.Certificate | None, tuple[certify.Problem, ...]]:
  return certify.certify(env, task, seeds.seed_of(task.id), way_known=False)


def _gold_run(env: tau2_domain.Tau2Domain, task: types.Task) -> types.GoldRun:
  """Returns the gold calls and one message with all facts, as moves.

  Where the evaluator asks for the gold calls themselves, each is a write.
  """
  moves = [types.Message(a.requestor, requestor=a.requestor, tool_calls=(
      types.ToolCall(a.name, a.arguments, requestor=a.requestor),))
           for a in task.criteria.actions]
  if task.criteria.communicate_info:
    facts = ' and '.join(task.criteria.communicate_info)
    moves.append(types.Message('assistant', f'It is {facts}.'))
  moves.append(types.Message('user', dialogue.STOP, requestor='user'))
  writes = ([i for i, m in enumerate(moves) if m.is_call]
            if 'ACTION' in task.criteria.reward_basis
            else mutants.writes(env, task, moves))
  return types.GoldRun(tuple(moves), tuple(writes))


def _unseen(env: tau2_domain.Tau2Domain, task: types.Task) -> str:
  """Returns why the evaluator does not see one of the demands, or ''."""
  gold = list(task.gold.moves)
  _, end = _play(env, task, gold)
  for i in task.gold.writes:
    if _play(env, task, gold[:i] + gold[i + 1:])[1] == end:
      return NEEDLESS
  calls = [m for m in gold if m.is_call]
  writes = [gold[i].tool_calls[0] for i in task.gold.writes]
  facts = task.criteria.communicate_info
  for fact in facts:
    # Everything that is spoken of anyway, with the ids in it.
    spoken = [task.scenario, *map(jsons.dumps, writes),
              *(f for f in facts if f != fact)]
    if _play(env, task, [*calls, types.Message(
        'assistant', ' '.join(spoken)), gold[-1]])[0]:
      return TOLD_ANYWAY
  for demand in task.demands:
    for call in demand.forbidden:
      taken = not env.start(task).execute([call])[0].error
      move = types.Message('assistant', tool_calls=(call,))
      if taken and _play(env, task, [move, *gold])[1] == end:
        return FORBIDDEN_PASSES
  return ''


def _play(env: tau2_domain.Tau2Domain, task: types.Task, moves: Moves
          ) -> tuple[bool, object]:
  """Returns whether the moves earn 1, and the state that they lead to."""
  world, played = replay.replay(env, task, moves)
  score = env.score(task, world, played, 'user_stop')
  return score.reward == 1, env.state(world)
