"""Keeps the contents of evaluation tasks out of training data.

Training data must hold no task that the trained models will be judged on,
nothing about the same entities (customers, orders, faults), and no long text of
it. `HeldOut` collects the contents of an evaluation; `drop_overlaps` rejects
samples that overlap with them. Published data go through the same gate.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import functools
from typing import Protocol

from agentrl import jsons
from agentrl import types
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata import source
from agentrl.eigendata.check import texts as texts_lib
from agentrl.eigendata.check import values

Messages = Sequence[types.Message]
# Finds the entities that a task, or its dialogue, is about.
FindEntities = Callable[[types.Task, Messages], frozenset[str]]


class BenchmarkEnv(source.WritableEnv, Protocol):
  """A domain of a benchmark, which brings tasks of its own."""

  def tasks(self, split: str) -> list[types.Task]:
    """Returns the tasks of a split."""


@dataclasses.dataclass(frozen=True)
class HeldOut:
  """Holds the contents of a domain's evaluation tasks.

  Attributes:
    find_entities: finds the entities of a sample.
    ids: ids of the tasks.
    entities: entities of each task -> its id. A sample overlaps with the task
      if it is about all of them, even if it is about others too.
    grams: texts.NGRAM words in a row of a single task -> its id. Words of
      several tasks are the domain's usual phrases.
    given: id -> scenario of tasks that the domain itself gives to train on;
      its authors have decided that these may share entities with the others.
  """

  find_entities: FindEntities
  ids: frozenset[str]
  entities: Mapping[frozenset[str], str]
  grams: Mapping[str, str]
  given: Mapping[str, str] = dataclasses.field(default_factory=dict)


def of_tasks(tasks: Iterable[types.Task], find_entities: FindEntities,
             given: Sequence[types.Task] = ()) -> HeldOut:
  """Collects the contents of evaluation tasks.

  Args:
    tasks: evaluation tasks of one domain.
    find_entities: finds the entities of a sample.
    given: tasks that the domain itself gives to train on.
  """
  tasks = list(tasks)
  places = collections.defaultdict(list)
  for task in tasks:
    for gram in texts_lib.grams([task.scenario]):
      places[gram].append(task.id)
  free = texts_lib.grams(t.scenario for t in given)
  entities = {find_entities(task, ()): task.id for task in tasks}
  entities.pop(frozenset(), None)
  return HeldOut(
      find_entities, frozenset(t.id for t in tasks), entities,
      {gram: ids[0] for gram, ids in places.items()
       if len(ids) == 1 and gram not in free},
      {t.id: t.scenario for t in given})


def of_benchmark(env: BenchmarkEnv, judged_on: str) -> HeldOut:
  """Collects the contents of a split of tau2-bench, `test` or `base`.

  Each entity counts by itself, such as a customer: a model trained on other
  tasks about the same customer would know the customer's orders by heart.
  """
  given = env.tasks('train') if judged_on == 'test' else []
  held = of_tasks(env.tasks(judged_on),
                  functools.partial(entities, env), given)
  return dataclasses.replace(held, entities={
      frozenset([name]): task_id for names, task_id in held.entities.items()
      for name in names})


def of_run(env: source.WritableEnv, tasks: Iterable[types.Task]) -> HeldOut:
  """Collects the contents that a run of the data engine must keep out: those of
  the benchmark's split that it is judged on, or of its own test tasks."""
  if env.judged_on:
    return of_benchmark(env, env.judged_on)
  return of_split(env, tasks)


def of_split(env: source.WritableEnv, tasks: Iterable[types.Task]) -> HeldOut:
  """Collects the contents of test tasks whose scenarios are composed.

  All these scenarios say the same about other entities, so a text counts only
  if it names one. Without a pattern of entities, these are the strings that the
  databases of the tasks have, and no database to train on.
  """
  tasks = list(tasks)
  find_entities = functools.partial(entities, env)
  if not env.entity:
    find_entities = functools.partial(_named, _held_strings(env, tasks))
  held = of_tasks(tasks, find_entities)
  named = {t.id: [texts_lib.words(name) for name in find_entities(t, ())]
           for t in tasks}
  return dataclasses.replace(held, grams={
      gram: task_id for gram, task_id in held.grams.items()
      if any(f' {name} ' in f' {gram} ' for name in named[task_id])})


def _held_strings(env: source.WritableEnv, tasks: Iterable[types.Task]
                  ) -> frozenset[str]:
  """Returns strings of the databases of tasks, as words, that no database of
  the same seeds has for the split `train`."""
  starts = {jsons.dumps(t.initial_state): t.initial_state for t in tasks}
  here, there = set(), set()
  for start in starts.values():
    here |= values.strings(env, start)
    there |= values.strings(env, env.initial_state(start['seed'], 'train'))
  return frozenset(map(texts_lib.words, here - there)) - {''}


def _named(names: frozenset[str], task: types.Task,
           messages: Messages = ()) -> frozenset[str]:
  """Returns the names that occur in a task or its dialogue."""
  row = texts_lib.words(' '.join(texts_lib.of_task(task, messages))).split()
  grams = {gram for size in {name.count(' ') + 1 for name in names}
           for gram in texts_lib.windows(row, size)}
  return names & grams


def entities(env: source.WritableEnv, task: types.Task,
             messages: Messages = ()) -> frozenset[str]:
  """Returns the entities that a task or its dialogue is about."""
  return env.entities(task, list(texts_lib.of_task(task, messages)))


def overlap(held: HeldOut, task: types.Task, messages: Messages = ()
            ) -> tuple[str, str]:
  """Returns why a task and its dialogue must not be trained on: a reason to
  count by, and the contents they share. Two '' if nothing overlaps."""
  if task.id in held.ids:
    return 'a task that is judged on', task.id
  if held.given.get(task.id) != task.scenario:
    about = held.find_entities(task, messages)
    for names, of in held.entities.items():
      if names <= about:
        return ('the entities of a task that is judged on',
                f'{", ".join(sorted(names))[:200]}: {of}')
  texts = [task.scenario, *(m.content or '' for m in messages
                            if m.role in ('assistant', 'user'))]
  shared = sorted(texts_lib.grams(texts) & held.grams.keys())
  if shared:
    return ('the text of a task that is judged on',
            f'{shared[0]!r}: {held.grams[shared[0]]}')
  return '', ''


def drop_overlaps(samples: Iterable[sample_lib.Sample],
                  held: Mapping[str, HeldOut]) -> Iterator[sample_lib.Sample]:
  """Rejects samples that overlap with evaluation tasks.

  Args:
    samples: samples with a task and maybe a dialogue; rejected ones pass.
    held: name of a domain -> contents of its evaluation tasks; samples of other
      domains pass.
  """
  for sample in samples:
    kind = ''
    if sample.task and sample.task.domain in held:
      kind, detail = overlap(held[sample.task.domain], sample.task,
                             sample.messages)
    if kind:
      sample = sample_lib.Sample(usage=sample.usage, rejection=types.Rejection(
          types.Worker.CONTAMINATION, kind, f'{sample.task.id}: {detail}'))
    yield sample
