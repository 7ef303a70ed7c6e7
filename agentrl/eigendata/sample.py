"""One sample, from random seeds to a certified task with its dialogue.

Sample `i` of a split is a pure function of (config, split, i), so samples can
be made anywhere, in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
import functools
import hashlib
import json
import random
from typing import Any

from agentrl import resolve
from agentrl import types
from agentrl.eigendata import certify
from agentrl.eigendata import judge
from agentrl.eigendata import planner
from agentrl.eigendata import workers
from agentrl.envs import domain
from agentrl.envs import env as env_lib
from agentrl.llm import llm as llm_lib

REPAIRS = 1  # how often Modify sends a checker or a dialogue back


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
  """What came of one sample.

  Attributes:
    task: certified; None if the sample was rejected.
    messages: its dialogue; () in the split `test`, or if rejected.
    worker, reason, detail: who rejected it and why; '' if it was kept.
    repaired: what Modify sent back, in words.
    draft: score of the certificate of the first checker, None without one.
    usage: calls and tokens of the LLM by worker.
  """

  task: types.Task | None = None
  messages: tuple[types.Message, ...] = ()
  worker: str = ''
  reason: str = ''
  detail: str = ''
  repaired: tuple[str, ...] = ()
  draft: float | None = None
  usage: Mapping[str, llm_lib.Usage] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Maker:
  """What all samples of a config share."""

  envs: Mapping[str, domain.Domain]
  llm: llm_lib.Meter
  plans: Mapping[str, Mapping[planner.Plan, float]]  # split -> plan -> weight
  seed: int
  databases: int
  other_share: float


@functools.lru_cache(maxsize=2)
def maker(config: str) -> Maker:
  """The maker of a config, given as JSON text; one for each process."""
  c = json.loads(config)
  envs = {name: env_lib.load(name, c['env']) for name in c['domains']}
  families = {name: [f.__name__ for f in env.drafts.FAMILIES]
              for name, env in envs.items()}
  plans = {split: planner.plans(families, split, c[f'demands_{split}'])
           for split in ('train', 'test')}
  writer = resolve.call(resolve.name(c['llm']), c['llm_kw'])
  return Maker(envs, llm_lib.Meter(writer), plans, c['seed'],
               c['databases'], c['other_share'])


def seed_of(*parts: Any) -> int:
  """A seed that is a function of all parts."""
  text = '/'.join(map(str, parts))
  return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], 'big')


def make(m: Maker, split: str, i: int) -> Sample:
  """Sample `i` of a split."""
  m.llm.usage.clear()
  trail = _Trail()
  try:
    task, messages = _make(m, split, i, trail)
  except workers.Rejected as e:
    return Sample(None, (), e.worker, e.reason, e.detail,
                  tuple(trail.repaired), trail.draft, dict(m.llm.usage))
  return Sample(task, messages, repaired=tuple(trail.repaired),
                draft=trail.draft, usage=dict(m.llm.usage))


@dataclasses.dataclass
class _Trail:
  """What happened on the way, kept or not."""

  repaired: list[str] = dataclasses.field(default_factory=list)
  draft: float | None = None


def _make(m: Maker, split: str, i: int, trail: _Trail
          ) -> tuple[types.Task, tuple[types.Message, ...]]:
  seed = functools.partial(seed_of, m.seed, split, i)
  plan = random.Random(seed('plan')).choices(
      list(m.plans[split]), list(m.plans[split].values()))[0]
  env = m.envs[plan.domain]
  # Many databases: where each customer had the same orders in every dialogue,
  # a small model would learn these by heart instead of reading them.
  database = m.seed * m.databases + i % m.databases
  seeds = workers.random_pool(env, plan, seed('pool'), database=database,
                              other_share=m.other_share)
  m.llm.stage = 'UserIntent'
  intent = workers.user_intent(m.llm, seeds, seed('intent'))
  task = workers.validate_task(env, seeds, intent, seed=seed('gold'),
                               name=f'{plan.domain}-{split}-{i:05d}')
  task = _certified(m, env, task, intent, seed, trail, '')
  if split == 'test':
    return task, ()
  for attempt in range(REPAIRS + 1):
    m.llm.stage = 'DialogSynthesis'
    world, end = workers.synthesize(m.llm, env, task, intent, seeds,
                                    seed=seed('dialogue', attempt))
    m.llm.stage = 'TrajectoryValidation'
    verdict = judge.verdict(m.llm, env, task, world, end, plan=plan,
                            seed=seed('judge', attempt))
    if not verdict.reason:
      return task, end.messages
    if attempt < REPAIRS:
      trail.repaired.append(f'dialogue: {verdict.reason}')
      if verdict.fault == 'task':
        task = _certified(m, env, task, intent, seed, trail, verdict.critique)
  raise workers.Rejected('TrajectoryValidation', verdict.reason,
                         verdict.critique)


def _certified(m: Maker, env: domain.Domain, task: types.Task, intent: workers.Intent,
               seed: Callable[..., int], trail: _Trail, critique: str) -> types.Task:
  """The task with a checker that earned its certificate.

  Raises:
    Rejected: it did not, and mending it did not help.
  """
  for attempt in range(REPAIRS + 1):
    m.llm.stage = 'ValidationFunction'
    task = workers.write_checker(m.llm, env, task, intent, critique=critique,
                                 seed=seed('checker', attempt, critique))
    found = certify.certify(env, task, intent.script, seed('certify'))
    if trail.draft is None:
      trail.draft = found['score']
    problems = found.pop('problems')
    if not problems:
      return dataclasses.replace(task, certificate=found)
    critique = '; '.join(problems)
    if attempt < REPAIRS:
      trail.repaired.append('checker: ' + _kind_of(problems[0]))
  raise workers.Rejected('Certificate', _kind_of(problems[0]), critique)


def _kind_of(problem: str) -> str:
  """A problem of a certificate without its particulars, to count it by."""
  signs = ('gold run fails', 'checker breaks', 'passes to', 'deleted',
           'doubled', 'unasked', 'left out', 'untold')
  return next((s for s in signs if s in problem), 'argument changed')
