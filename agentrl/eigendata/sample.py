"""One sample, from random seeds to a certified task with its dialogue.

Sample `i` of a stream is a pure function of (config, stream, purpose, i), so
samples can be made anywhere, in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
import enum
import functools
import json
from typing import Any

from agentrl import resolve
from agentrl import seeds
from agentrl import types
from agentrl.eigendata import prompts
from agentrl.eigendata import rejection
from agentrl.eigendata.check import certify
from agentrl.eigendata.check import judge
from agentrl.eigendata.plan import planner
from agentrl.eigendata.plan import streams as streams_lib
from agentrl.eigendata.tau2 import domain as tau2_domain
from agentrl.eigendata.write import dialogues as talks
from agentrl.eigendata.write import hindsight
from agentrl.eigendata.write import invent as goals
from agentrl.eigendata.write import student as student_lib
from agentrl.eigendata.write import workers
from agentrl.envs import dialogue
from agentrl.envs import domain
from agentrl.envs import env as env_lib
from agentrl.envs import load as env_load
from agentrl.llm import budget
from agentrl.llm import build
from agentrl.llm import llm as llm_lib

# Who asks an LLM, and may ask another than the rest: `config.llm_roles`.
STAGES = (*dict.fromkeys(prompts.STAGES.values()), 'Student')
REPAIRS = 1  # how often Modify sends a checker or a dialogue back
SHOWN = 300  # characters of a critique that a task keeps


class Part(enum.StrEnum):
  """Part of a sample that Modify sends back."""

  GOAL = 'goal'
  CHECKER = 'checker'
  DIALOGUE = 'dialogue'


@dataclasses.dataclass(frozen=True, slots=True)
class Repair:
  """A part of a sample that was sent back once.

  Attributes:
    part: the part.
    kind: reason without particulars, to count by.
    critique: what its author was told; for people.
  """

  part: Part
  kind: str
  critique: str = ''

  @property
  def name(self) -> str:
    """Part and kind, as the figures show them."""
    return f'{self.part}: {self.kind}'


@dataclasses.dataclass(frozen=True, slots=True)
class FirstChecker:
  """Quality of a checker before it was mended.

  Attributes:
    score: score of its certificate; 0 without one.
    passed: kinds of wrong runs that it passed.
  """

  score: float
  passed: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
  """Result of one sample.

  Attributes:
    task: certified; None if the sample was rejected.
    messages: its dialogue; () in the split `test`, or if rejected.
    rejection: why it was rejected; None if it was kept.
    repaired: parts that Modify sent back.
    first_checker: quality of its first checker; None without one.
    usage: calls and tokens of the LLM by worker.
    stream: name of the plan that it was written by.
    solved: whether the student solved the task; None: that was not asked, or
      cannot be told.
  """

  task: types.Task | None = None
  messages: tuple[types.Message, ...] = ()
  rejection: types.Rejection | None = None
  repaired: tuple[Repair, ...] = ()
  first_checker: FirstChecker | None = None
  usage: Mapping[str, llm_lib.Usage] = dataclasses.field(default_factory=dict)
  stream: str = ''
  solved: bool | None = None

  @property
  def had_caller(self) -> bool:
    """Whether RandomPool found a caller; without one nothing is told by it."""
    return not (self.rejection
                and self.rejection.worker == types.Worker.RANDOM_POOL)

  @property
  def over_budget(self) -> bool:
    """Whether the budget was used up before it was finished."""
    return bool(self.rejection
                and self.rejection.worker == types.Worker.BUDGET)


@dataclasses.dataclass
class Maker:
  """What all samples of a config share, also those of other threads."""

  envs: Mapping[str, domain.Domain]
  llm: llm_lib.Meter
  ledger: budget.Ledger
  seed: int
  databases: int
  other_share: float
  student: bool = False  # there is one


@functools.lru_cache(maxsize=2)
def maker(config: str) -> Maker:
  """The maker of a config, given as JSON text; one for each process."""
  c = json.loads(config)
  envs = {name: _env(name, c) for name in c['domains']}
  for stage, own in c['llm_roles'].items():
    if stage not in STAGES:
      raise ValueError(f'llm_roles.{stage} would have no effect: nobody of '
                       'that name asks.' + resolve.hint(stage, STAGES))
    if own.get('brief') and stage != 'DialogSynthesis':
      raise ValueError(f'llm_roles.{stage}.brief would have no effect: only '
                       'DialogSynthesis has short prompts.')
  student = 'Student' in c['llm_roles']
  if student and not c['evolve']['rounds']:
    raise ValueError('llm_roles.Student would have no effect: it plays the '
                     'audits of rounds, and config.evolve.rounds is 0.')
  llm, ledger = build.make(c['llm'], c['llm_kw'], others=c['llm_roles'],
                           account=c['llm_account'], plain=('Student',))
  return Maker(envs, llm, ledger, c['seed'], c['databases'], c['other_share'],
               student)


def _env(name: str, c: Mapping[str, Any]) -> domain.Domain:
  """A domain to write for.

  Raises:
    ValueError: test tasks of the benchmark are asked for.
  """
  if not name.startswith('tau2:'):
    return env_load.load(name, c['env'])
  if c['num_test']:
    raise ValueError(f'{name} brings its own test tasks, by which models are '
                     f'compared: set config.num_test=0, got {c["num_test"]}.')
  return resolve.call(tau2_domain.Tau2Domain, {'domain': name[5:], **c['env']})


def make(m: Maker, stream: streams_lib.Stream, purpose: str, i: int, *,
         validate: bool = True, user: prompts.Prompts | None = None
         ) -> Sample:
  """Sample `i` that a stream makes for a purpose: a shard, a pilot, an audit.

  The name of its task is `purpose` and `i`. Without `validate` whatever can be
  played is kept, with no certificate: for ablations alone. With `user` the
  student plays the task too, against a user of these prompts.
  """
  m.llm.usage.clear()
  plan = stream.plan
  seed = functools.partial(seeds.seed_of, m.seed, plan.id, purpose, i)
  job = _Job(prompts.Author(m.llm, stream.prompts), m.envs[plan.domain], plan,
             seed)
  # Many databases: where each customer had the same orders in every dialogue,
  # a small model would learn these by heart instead of reading them.
  first = seeds.seed_of(plan.id, purpose)
  database = m.seed * m.databases + (first + i) % m.databases
  task, messages, solved, why = None, (), None, None
  try:
    pool = workers.random_pool if job.env.drafts else goals.pool
    drawn = pool(job.env, plan, seed('pool'), database=database,
                 other_share=m.other_share)
    write = _write if validate else _write_anything
    task, messages = write(job, drawn, f'{purpose}-{i:05d}')
    task = _with_provenance(job, task, stream, f'{purpose}/{i}')
    if user:
      solved = student_lib.solves(prompts.Author(m.llm, user), job.env, task,
                                  *job.drafted, seed=seed('student'))
  except rejection.SampleRejected as e:
    why = e.rejection
  except llm_lib.BadAnswer as e:
    why = types.Rejection(types.Worker(e.stage or m.llm.stage), e.kind,
                          e.detail)
  except env_lib.ToolBroken as e:
    why = types.Rejection(types.Worker.TOOLS, 'a tool broke', str(e))
  except llm_lib.OverBudget as e:
    why = types.Rejection(types.Worker.BUDGET, 'used up', str(e))
  if why:
    task, messages = None, ()
  return Sample(task, messages, why, repaired=tuple(job.repaired),
                first_checker=job.first_checker, usage=dict(m.llm.usage),
                stream=plan.id, solved=solved)


def _with_provenance(job: _Job, task: types.Task, stream: streams_lib.Stream,
                     name: str) -> types.Task:
  """Adds to a task what it was made with, and the database it starts from."""
  meta = {**task.meta, 'plan': {
      **task.meta['plan'], 'prompts': stream.prompts.version, 'sample': name}}
  if job.repaired:
    meta['repaired'] = [{'what': r.name, 'critique': r.critique[:SHOWN]}
                        for r in job.repaired]
  database = ''
  if isinstance(job.env, domain.Domain):
    database = job.env.database(**task.initial_state)
  return dataclasses.replace(task, database=database, meta=meta)


@dataclasses.dataclass
class _Job:
  """One sample under way."""

  author: prompts.Author
  env: domain.Domain
  plan: planner.Plan
  seed: Callable[..., int]  # of anything that has a name
  repaired: list[Repair] = dataclasses.field(default_factory=list)
  first_checker: FirstChecker | None = None
  drafted: tuple[workers.Intent, workers.Seeds] | None = None  # the last


def _write(job: _Job, drawn: workers.Seeds, name: str
           ) -> tuple[types.Task, tuple[types.Message, ...]]:
  """From seeds to a task and, in `train`, its dialogue.

  Raises:
    SampleRejected: by any of the workers.
  """
  intent, task = _drafted(job, drawn, name, 'intent')
  task = _certified(job, task, intent, '')
  if job.plan.split == 'test':
    return task, ()
  for attempt in range(REPAIRS + 1):
    played = talks.synthesize(job.author, job.env, task, intent, drawn,
                              seed=job.seed('dialogue', attempt))
    verdict = judge.verdict(job.author, job.env, task, played, plan=job.plan,
                            seed=job.seed('judge', attempt))
    if verdict.objection is None:
      return task, played[1].messages
    if attempt < REPAIRS:
      job.repaired.append(
          Repair(Part.DIALOGUE, verdict.objection, verdict.critique))
      if verdict.fault == 'task':
        task = _certified(job, task, intent, verdict.critique)
      else:
        intent = dataclasses.replace(intent, critique=verdict.critique)
  drafts = hindsight.met(intent.demands, played[1].messages, job.plan.split)
  # How a task begins that was thought of is for all of its demands together.
  if drafts and not drawn.wish and (task := _relabelled(
      job, dataclasses.replace(drawn, drafts=drafts), name, played)):
    job.repaired.append(
        Repair(Part.DIALOGUE, 'relabelled', verdict.critique))
    return task, played[1].messages
  raise rejection.SampleRejected(
      types.Worker.TRAJECTORY_VALIDATION, verdict.objection, verdict.critique,
      problems=filter(None, [verdict.user_fault]))


def _drafted(job: _Job, drawn: workers.Seeds, name: str, purpose: str
             ) -> tuple[workers.Intent, types.Task]:
  """Intent and task of seeds; `purpose` names the seed of the words.

  Raises:
    SampleRejected: by UserIntent or TaskValidation.
  """
  if drawn.wish:
    return _thought_of(job, drawn, name)
  intent = workers.user_intent(job.author, drawn, job.seed(purpose))
  job.drafted = intent, drawn
  return intent, workers.validate_task(job.env, drawn, intent, name=name,
                                       seed=job.seed('gold'))


def _thought_of(job: _Job, drawn: workers.Seeds, name: str
                ) -> tuple[workers.Intent, types.Task]:
  """Intent and task of a wish, mended once.

  Raises:
    SampleRejected: by UserIntent or TaskValidation.
  """
  critique = ''
  for attempt in range(REPAIRS + 1):
    try:
      begun, intent = goals.think(job.author, job.env, drawn,
                                  critique=critique,
                                  seed=job.seed('goal', attempt))
      task = workers.validate_task(job.env, begun, intent, name=name,
                                   seed=job.seed('gold'))
      goals.review(job.author, job.env, task, job.seed('review', attempt))
      job.drafted = intent, begun
      return intent, task
    except rejection.SampleRejected as e:
      why = e
      kind, detail = e.rejection.kind, e.rejection.detail
      critique = f'{kind}: {detail}'
      if attempt < REPAIRS:
        job.repaired.append(Repair(Part.GOAL, kind, detail))
  raise why


def _write_anything(job: _Job, drawn: workers.Seeds, name: str
                    ) -> tuple[types.Task, tuple[types.Message, ...]]:
  """As `_write`, with the first checker and the first dialogue, unseen."""
  intent, task = _drafted(job, drawn, name, 'intent')
  task = workers.write_checker(job.author, job.env, task, intent, critique='',
                               seed=job.seed('checker', 0, ''))
  _, end = talks.synthesize(job.author, job.env, task, intent, drawn,
                            seed=job.seed('dialogue', 0))
  return task, end.messages


def _relabelled(job: _Job, drawn: workers.Seeds, name: str,
                played: tuple[domain.DomainWorld, dialogue.End]
                ) -> types.Task | None:
  """The task of the demands that a dialogue met; None if it is no sound one,
  or the dialogue does not fit it."""
  try:
    intent, task = _drafted(job, drawn, name, 'hindsight')
    task = _certified(job, task, intent, '')
    verdict = judge.verdict(job.author, job.env, task, played, plan=job.plan,
                            seed=job.seed('judge', 'hindsight'))
  except (rejection.SampleRejected, llm_lib.BadAnswer):
    return None  # what counts is why the dialogue was turned down
  return None if verdict.objection else task


def _certified(job: _Job, task: types.Task, intent: workers.Intent,
               critique: str) -> types.Task:
  """The task with a checker that earned its certificate.

  Raises:
    SampleRejected: it did not, and mending it did not help.
  """
  for attempt in range(REPAIRS + 1):
    task = workers.write_checker(
        job.author, job.env, task, intent, critique=critique,
        seed=job.seed('checker', attempt, critique))
    certificate, problems = certify.certify(job.env, task, intent.script,
                                            job.seed('certify'))
    if job.first_checker is None:
      job.first_checker = FirstChecker(
          certificate.score if certificate else 0.0,
          tuple(sorted({p.kind for p in problems if p.passes_wrongly})))
    if not problems:
      return dataclasses.replace(task, certificate=certificate)
    critique = '; '.join(p.detail for p in problems)
    if attempt < REPAIRS:
      job.repaired.append(Repair(Part.CHECKER, problems[0].kind, critique))
  raise rejection.SampleRejected(
      types.Worker.CERTIFICATE, problems[0].kind, critique,
      problems=dict.fromkeys(p.kind for p in problems))
