"""One sample, from random seeds to a certified task with its dialogue.

Sample `i` of a stream is a pure function of (config, stream, purpose, i), so
samples can be made anywhere, in any order. The workers, in order: RandomPool
and UserIntent (a `source.TaskSource`), TaskValidation, ValidationFunction with
its certificate, DialogSynthesis, TrajectoryValidation. Modify, which sends back
a part once, is in this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
import enum
import functools

from agentrl import seeds
from agentrl import types
from agentrl.eigendata import context as context_lib
from agentrl.eigendata import prompts
from agentrl.eigendata import rejection
from agentrl.eigendata import source as source_lib
from agentrl.eigendata.check import certify
from agentrl.eigendata.check import trajectory
from agentrl.eigendata.plan import planner
from agentrl.eigendata.plan import streams as streams_lib
from agentrl.eigendata.write import checker
from agentrl.eigendata.write import dialogues
from agentrl.eigendata.write import hindsight
from agentrl.eigendata.write import student
from agentrl.eigendata.write import validate as validate_lib
from agentrl.envs import env as env_lib
from agentrl.llm import llm as llm_lib

REPAIRS = 1  # number of times that Modify sends a checker or a dialogue back
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
    critique: the mistake, as its author was told.
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
    """Whether RandomPool found a caller; a sample without one says nothing
    about the prompts."""
    return not (self.rejection
                and self.rejection.worker == types.Worker.RANDOM_POOL)

  @property
  def over_budget(self) -> bool:
    """Whether the budget was used up before it was finished."""
    return bool(self.rejection
                and self.rejection.worker == types.Worker.BUDGET)


def draw(context: context_lib.Context, stream: streams_lib.Stream,
         purpose: str, number: int, *, validate: bool = True,
         user: prompts.Prompts | None = None) -> Sample:
  """Draws a sample of a stream.

  Args:
    context: what all samples share.
    stream: plan and prompts.
    purpose: name of a shard, a pilot or an audit; with the number it names the
      task, and seeds everything.
    number: number of the sample for this purpose.
    validate: whether tasks and dialogues are checked. False keeps everything
      that can be played, without a certificate: for ablations alone.
    user: prompts of a user against whom the student plays the task too; None:
      it does not play.
  """
  context.llm.usage.clear()
  job = _job(context, stream, purpose, number)
  task, messages, solved, why = None, (), None, None
  try:
    drawn = job.source.draw(
        job.plan, job.seed('pool'), other_share=context.other_share,
        database=_database(context, stream.plan, purpose, number))
    write = _write if validate else _write_unchecked
    task, messages = write(job, drawn, f'{purpose}-{number:05d}')
    task = _with_provenance(job, task, stream, f'{purpose}/{number}')
    if user:
      solved = student.solves(
          prompts.Writer(context.llm, user), job.source.env, task,
          *job.composed, seed=job.seed('student'))
  except rejection.SampleRejected as e:
    why = e.rejection
  except llm_lib.BadAnswer as e:
    why = types.Rejection(types.Worker(e.stage), e.kind, e.detail)
  except env_lib.ToolBroken as e:
    why = types.Rejection(types.Worker.TOOLS, 'a tool broke', str(e))
  except llm_lib.OverBudget as e:
    why = types.Rejection(types.Worker.BUDGET, 'used up', str(e))
  if why:
    task, messages = None, ()
  return Sample(task, messages, why, repaired=tuple(job.repaired),
                first_checker=job.first_checker, usage=dict(context.llm.usage),
                stream=stream.plan.id, solved=solved)


def _database(context: context_lib.Context, plan: planner.Plan, purpose: str,
              number: int) -> int:
  """Returns the number of a sample's database.

  Samples take turns with many databases: where each customer had the same
  orders in every dialogue, a small model would learn these by heart instead of
  reading them.
  """
  first = seeds.seed_of(plan.id, purpose)
  turn = (first + number) % context.databases
  return context.seed * context.databases + turn


@dataclasses.dataclass
class _Job:
  """One sample under way.

  Attributes:
    writer: LLM, with the prompts of the stream.
    source: source of the demands.
    plan: plan of the stream.
    seed: function from names to a seed of this sample.
    repaired: parts that were sent back so far.
    first_checker: quality of the first checker; None before.
    composed: last intent and its draw; None before.
  """

  writer: prompts.Writer
  source: source_lib.TaskSource
  plan: planner.Plan
  seed: Callable[..., int]
  repaired: list[Repair] = dataclasses.field(default_factory=list)
  first_checker: FirstChecker | None = None
  composed: tuple[source_lib.Intent, source_lib.Draw] | None = None


def _job(context: context_lib.Context, stream: streams_lib.Stream,
         purpose: str, number: int) -> _Job:
  plan = stream.plan
  return _Job(
      prompts.Writer(context.llm, stream.prompts), context.sources[plan.domain],
      plan, functools.partial(seeds.seed_of, context.seed, plan.id, purpose,
                              number))


def _with_provenance(job: _Job, task: types.Task, stream: streams_lib.Stream,
                     name: str) -> types.Task:
  """Returns the task with its database, plan, prompts and repairs."""
  meta = {**task.meta, 'plan': {
      **task.meta['plan'], 'prompts': stream.prompts.version, 'sample': name}}
  if job.repaired:
    meta['repaired'] = [{'what': r.name, 'critique': r.critique[:SHOWN]}
                        for r in job.repaired]
  database = job.source.env.database(**(task.initial_state or {}))
  return dataclasses.replace(task, database=database, meta=meta)


def _write(job: _Job, drawn: source_lib.Draw, name: str
           ) -> tuple[types.Task, tuple[types.Message, ...]]:
  """Returns a certified task and, in `train`, its dialogue.

  Raises:
    SampleRejected: by any of the workers.
  """
  intent, task = _composed(job, drawn, name, 'intent')
  task = _certified(job, task, intent, '')
  if job.plan.split == 'test':
    return task, ()
  for attempt in range(REPAIRS + 1):
    played = dialogues.synthesize(job.writer, job.source.env, task, intent,
                                  drawn, seed=job.seed('dialogue', attempt))
    verdict = trajectory.validate(job.writer, job.source.env, task, played,
                            plan=job.plan, seed=job.seed('judge', attempt))
    if verdict.objection is None:
      return task, played[1].messages
    if attempt < REPAIRS:
      job.repaired.append(
          Repair(Part.DIALOGUE, verdict.objection, verdict.critique))
      if verdict.fault == 'task':
        task = _certified(job, task, intent, verdict.critique)
      else:
        intent = dataclasses.replace(intent, critique=verdict.critique)
  if task := _relabelled(job, drawn, intent, name, played):
    job.repaired.append(
        Repair(Part.DIALOGUE, 'relabelled', verdict.critique))
    return task, played[1].messages
  raise rejection.SampleRejected(
      types.Worker.TRAJECTORY_VALIDATION, verdict.objection, verdict.critique,
      problems=filter(None, [verdict.user_fault]))


def _composed(job: _Job, drawn: source_lib.Draw, name: str, purpose: str
              ) -> tuple[source_lib.Intent, types.Task]:
  """Returns intent and task of a draw; `purpose` names the seed of the words.

  Raises:
    SampleRejected: by UserIntent or TaskValidation, at the last attempt.
  """
  why = None
  for number in range(job.source.attempts):
    critique = ''
    if why:
      job.repaired.append(Repair(Part.GOAL, why.kind, why.detail))
      critique = f'{why.kind}: {why.detail}'
    attempt = source_lib.Attempt(job.seed, purpose, number, critique)
    try:
      begun, intent = job.source.intent(job.writer, drawn, attempt)
      task = validate_lib.validate_task(job.source, begun, intent, name=name,
                                        seed=job.seed('gold'))
      job.source.review(job.writer, task, job.seed('review', number))
    except rejection.SampleRejected as e:
      why = e.rejection
      continue
    job.composed = intent, begun
    return intent, task
  raise rejection.SampleRejected(
      why.worker, why.kind, why.detail, why.problems)


def _write_unchecked(job: _Job, drawn: source_lib.Draw, name: str
                     ) -> tuple[types.Task, tuple[types.Message, ...]]:
  """Returns a task with its first checker and its first dialogue, as they
  are."""
  intent, task = _composed(job, drawn, name, 'intent')
  task = checker.write_checker(job.writer, job.source, task, intent,
                               critique='', seed=job.seed('checker', 0, ''))
  _, end = dialogues.synthesize(job.writer, job.source.env, task, intent, drawn,
                                seed=job.seed('dialogue', 0))
  return task, end.messages


def _relabelled(job: _Job, drawn: source_lib.Draw, intent: source_lib.Intent,
                name: str, played: dialogues.Played) -> types.Task | None:
  """Returns the smaller task that a rejected dialogue meets.

  Returns:
    None if the source's tasks cannot be cut down, no smaller task fits the
    dialogue, or it does not earn a certificate.
  """
  if not job.source.separable:
    return None
  drafts = hindsight.met(intent.demands, played[1].messages, job.plan.split)
  if not drafts:
    return None
  drawn = dataclasses.replace(drawn, drafts=drafts)
  try:
    intent, task = _composed(job, drawn, name, 'hindsight')
    task = _certified(job, task, intent, '')
    verdict = trajectory.validate(
        job.writer, job.source.env, task, played, plan=job.plan,
        seed=job.seed('judge', 'hindsight'))
  except (rejection.SampleRejected, llm_lib.BadAnswer):
    return None  # the sample's rejection is the one of its dialogue
  return None if verdict.objection else task


def _certified(job: _Job, task: types.Task, intent: source_lib.Intent,
               critique: str) -> types.Task:
  """Returns the task with a checker that earned its certificate.

  Raises:
    SampleRejected: it did not, and mending it did not help.
  """
  for attempt in range(REPAIRS + 1):
    task = checker.write_checker(
        job.writer, job.source, task, intent, critique=critique,
        seed=job.seed('checker', attempt, critique))
    certificate, problems = certify.certify(
          job.source.env, task, job.seed('certify'),
          way_known=job.source.way_known, script=intent.script)
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
