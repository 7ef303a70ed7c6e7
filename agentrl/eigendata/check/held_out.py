"""What must not get into training data, and what somebody must look at.

*Contamination*: training data hold no task that the trained models will be
judged on, nothing about the same entities (customers, orders, faults), and no
long text of it. `hold` looks at the evaluation set, `gate` drops what clashes
with it and says why; data that were made elsewhere (`published.py`) go through
the same gate.

*Secrets and personal data*: what looks like a key, a card, an e-mail address
or a phone number is flagged, unless it stands in the domain's own database,
whose people are fiction.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import functools
import itertools
import json
import re
from typing import Any

from agentrl import jsons
from agentrl import types
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata.check import mutants
from agentrl.eigendata.tau2 import held_out as tau2_held
from agentrl.envs import domain
from agentrl.envs import env as env_lib
from agentrl.envs.tau2 import env as tau2

# Words in a row that two texts do not share by chance: Brown et al.,
# arXiv:2005.14165, appendix C.
NGRAM = 13
JUDGED_ON = ('test', 'base')  # splits of tau2-bench

Messages = Sequence[types.Message]
# The entities that a task, or its dialogue, is about.
About = Callable[[types.Task, Messages], frozenset[str]]


@dataclasses.dataclass(frozen=True)
class Held:
  """What models of a domain are judged on, to compare training data with.

  Attributes:
    about: finds the entities of an item.
    ids: of the tasks.
    entities: those of each task -> its id. An item that is about all of them
      (were it about others too) is about the same.
    grams: every NGRAM words that stand in one of the tasks only -> its id.
      What stands in several is the domain's way of putting things.
    given: id -> scenario of tasks that the domain itself gives to train on;
      its authors have decided that these may share entities with the others.
  """

  about: About
  ids: frozenset[str]
  entities: Mapping[frozenset[str], str]
  grams: Mapping[str, str]
  given: Mapping[str, str] = dataclasses.field(default_factory=dict)


def hold(tasks: Iterable[types.Task], about: About,
         given: Sequence[types.Task] = ()) -> Held:
  """What must be kept out of training data, of the tasks of an evaluation.

  Args:
    tasks: of one domain.
    about: finds the entities of an item.
    given: tasks that the domain itself gives to train on.
  """
  tasks = list(tasks)
  places = collections.defaultdict(list)
  for task in tasks:
    for gram in grams([task.scenario]):
      places[gram].append(task.id)
  free = grams(t.scenario for t in given)
  entities = {about(task, ()): task.id for task in tasks}
  entities.pop(frozenset(), None)
  return Held(
      about, frozenset(t.id for t in tasks), entities,
      {gram: ids[0] for gram, ids in places.items()
       if len(ids) == 1 and gram not in free},
      {t.id: t.scenario for t in given})


def of_benchmark(env: tau2.Tau2, judged_on: str) -> Held:
  """What is held out for a split of tau2-bench, `test` or `base`.

  Of airline and retail every customer of a task is held for himself: what a
  model learns of his orders it would know in the very tasks that are to show
  how it does with strangers. All tasks of telecom are about the same customer;
  there it is the faults of a task that are held.
  """
  given = env.tasks('train') if judged_on == 'test' else []
  held = hold(env.tasks(judged_on), functools.partial(entities, env), given)
  if env.domain == 'telecom':
    return held
  return dataclasses.replace(held, entities={
      frozenset([user]): task_id for users, task_id in held.entities.items()
      for user in users})


def of_run(env: env_lib.Env, tasks: Iterable[types.Task]) -> Held:
  """What a run of the data engine must keep out: of the benchmark the split
  that it judges on, of other domains its own test tasks."""
  judged_on = getattr(env, 'judged_on', '')
  return of_benchmark(env, judged_on) if judged_on else of_split(env, tasks)


def of_split(env: env_lib.Env, tasks: Iterable[types.Task]) -> Held:
  """What is held out for tasks of a domain whose words are composed.

  All its scenarios say the same things of other entities, so a text counts
  only where it names one. Of a domain without a pattern of its entities they
  are what stands in databases of these tasks, and in none to train on.
  """
  tasks = list(tasks)
  about = functools.partial(entities, env)
  if isinstance(env, domain.Domain) and not mutants.entity(env, ''):
    about = functools.partial(_named, _held_strings(env, tasks))
  held = hold(tasks, about)
  named = {t.id: [_words(name) for name in about(t, ())] for t in tasks}
  return dataclasses.replace(held, grams={
      gram: task_id for gram, task_id in held.grams.items()
      if any(f' {name} ' in f' {gram} ' for name in named[task_id])})


def _held_strings(env: domain.Domain, tasks: Iterable[types.Task]
                  ) -> frozenset[str]:
  """Strings of the databases of tasks, in words, that no database of the same
  seeds has for the split `train`."""
  starts = {jsons.dumps(t.initial_state): t.initial_state for t in tasks}
  here, there = set(), set()
  for start in starts.values():
    here |= mutants.strings(env, start)
    there |= mutants.strings(env, env.initial_state(start['seed'], 'train'))
  return frozenset(map(_words, here - there)) - {''}


def _named(names: frozenset[str], task: types.Task,
           messages: Messages = ()) -> frozenset[str]:
  """The names that a task or its dialogue has."""
  words = _words(' '.join(_texts(task, messages))).split()
  found = {gram for size in {name.count(' ') + 1 for name in names}
           for gram in _windows(words, size)}
  return names & found


def entities(env: env_lib.Env, task: types.Task,
             messages: Messages = ()) -> frozenset[str]:
  """What a task or its dialogue is about, in the terms of its domain.

  Customers in airline and retail, the set of faults in telecom (which a
  dialogue alone does not tell), else the names that the domain's ENTITY
  matches. Results of tools do not count: they list others too.
  """
  if isinstance(env, tau2.Tau2) and env.domain == 'telecom':
    return _faults(task)
  texts = list(_texts(task, messages))
  if isinstance(env, tau2.Tau2):
    return frozenset(tau2_held.owners_in(env, ' '.join(texts)))
  pattern = mutants.entity(env) if isinstance(env, domain.Domain) else r'(?!)'
  return frozenset(re.findall(pattern, ' '.join(texts)))


def _faults(task: types.Task) -> frozenset[str]:
  """One name for all that is wrong at the start of a telecom task."""
  actions = (task.initial_state or {}).get('initialization_actions') or ()
  wrong = sorted(jsons.dumps([a['func_name'], a['arguments']])
                 for a in actions)
  return frozenset([' '.join(wrong)] if wrong else [])


def _texts(task: types.Task, messages: Messages) -> Iterator[str]:
  """All that a task begins with, and that both sides say and ask tools for."""
  yield task.scenario
  yield jsons.dumps(task.initial_state or {})  # records of its own, by key
  for action in task.criteria.actions:
    yield from _strings(action.arguments)
  for message in messages:
    if message.role in ('assistant', 'user') and message.content:
      yield message.content
    for call in message.tool_calls:
      yield from _strings(call.arguments)


def _strings(value: Any) -> Iterator[str]:
  if isinstance(value, Mapping):
    value = list(value.values())
  if isinstance(value, (list, tuple)):
    for item in value:
      yield from _strings(item)
  elif value is not None:
    yield str(value)


def grams(texts: Iterable[str]) -> set[str]:
  """Every NGRAM words in a row of a line, lower case, no punctuation.

  Lines by themselves: the benchmark's scenarios have headings between them.
  """
  lines = itertools.chain.from_iterable(map(str.splitlines, texts))
  return {gram for line in lines
          for gram in _windows(_words(line).split(), NGRAM)}


def _words(text: str) -> str:
  return ' '.join(re.findall(r'\w+', text.lower()))


def _windows(words: Sequence[str], size: int) -> Iterator[str]:
  for i in range(len(words) - size + 1):
    yield ' '.join(words[i:i + size])


def clash(held: Held, task: types.Task,
          messages: Messages = ()) -> tuple[str, str]:
  """Why a task and its dialogue must not be trained on: a reason to count by,
  and what it clashes with. Two '' if nothing speaks against it."""
  if task.id in held.ids:
    return 'a task that is judged on', task.id
  if held.given.get(task.id) != task.scenario:
    about = held.about(task, messages)
    for names, of in held.entities.items():
      if names <= about:
        return ('the entities of a task that is judged on',
                f'{", ".join(sorted(names))[:200]}: {of}')
  texts = [task.scenario, *(m.content or '' for m in messages
                            if m.role in ('assistant', 'user'))]
  shared = sorted(grams(texts) & held.grams.keys())
  if shared:
    return ('the text of a task that is judged on',
            f'{shared[0]!r}: {held.grams[shared[0]]}')
  return '', ''


def gate(samples: Iterable[sample_lib.Sample], held: Mapping[str, Held]
         ) -> Iterator[sample_lib.Sample]:
  """The samples, with those rejected that clash with what is judged on.

  Args:
    samples: with a task and, it may be, a dialogue; rejected ones pass.
    held: of each domain by its name; a domain without one has no gate.
  """
  for sample in samples:
    reason = ''
    if sample.task and sample.task.domain in held:
      reason, detail = clash(held[sample.task.domain], sample.task,
                             sample.messages)
    yield sample_lib.Sample(
        rejection=types.Rejection(types.Worker.CONTAMINATION, reason,
                                  f'{sample.task.id}: {detail}'),
        usage=sample.usage) if reason else sample


def guard(samples: Iterable[sample_lib.Sample], held: Mapping[str, Held],
          envs: Mapping[str, env_lib.Env], *, drop_flagged: bool
          ) -> tuple[list[sample_lib.Sample], dict[str, Any]]:
  """`gate` and `look`; the facts are for the manifest."""
  return look(gate(samples, held), envs, drop=drop_flagged)


# --- Secrets and personal data ---

PATTERNS = {
    'private key': r'-----BEGIN [A-Z ]*PRIVATE KEY-----',
    'key or token': (
        r'\b(?:sk-[\w-]{20,}|gh[pousr]_\w{36,}|github_pat_\w{40,}'
        r'|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,}|hf_[A-Za-z]{30,}'
        r'|(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{35}'
        r'|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,})'),
    'password': r'(?i)\b(?:password|passwd|api[_ -]?key|secret)'
                r'(?:\s+is\s+|\s*[:=]\s*)["\']?(?=\S*\d)\S{8,}',
    'e-mail': r'\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b',
    'card': r'(?<![\w.-])[3-6](?:\d{12,18}|\d{3}(?:[ -]\d{4}){3}'
            r'|\d{3}[ -]\d{6}[ -]\d{5})(?![\w-])',
    'phone': r'(?<![\w.-])(?:\+\d{1,3}[ .-]?)?'
             r'(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w-])'
             r'|(?<!\w)\+\d{8,15}\b'}


def luhn(number: str) -> bool:
  """Whether the digits of a card number have the right check digit.

  Source: ISO/IEC 7812-1, annex B.
  """
  digits = [int(c) for c in reversed(number) if c.isdigit()]
  doubled = [sum(divmod(2 * d, 10)) for d in digits[1::2]]
  return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def personal(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
  """(kind, match) of all that looks like a secret or personal data."""
  for text in texts:
    for kind, pattern in PATTERNS.items():
      for match in re.finditer(pattern, text):
        if kind != 'card' or luhn(match[0]):
          yield kind, match[0]


def flags(env: env_lib.Env, sample: sample_lib.Sample
          ) -> list[tuple[str, str]]:
  """(kind, its first characters) of what is not of the domain's fiction."""
  task = sample.task
  texts = [task.scenario, *_texts(task, sample.messages),
           *(m.content or '' for m in sample.messages if m.role == 'tool')]
  matches = dict.fromkeys(personal(texts))
  if not matches:
    return []
  start = jsons.dumps(task.initial_state)
  known = _fiction(env, task.domain, start, task.database)
  return [(kind, f'{match[:4]}..') for kind, match in matches
          if not any(_plain(match) in text for text in known)]


@functools.lru_cache(maxsize=64)
def _fiction(env: env_lib.Env, name: str, start: str,
             database: str) -> frozenset[str]:
  """The database that a task starts with, as plain text."""
  state = json.loads(start)
  if isinstance(env, domain.Domain):
    return frozenset([_plain(jsons.dumps(env.tables(**state)))])
  if not isinstance(env, tau2.Tau2):
    return frozenset()
  world = env.start(types.Task(
      'its database', name, '', initial_state=state,
      database=database))
  kits = (world.environment.tools, world.environment.user_tools)
  return frozenset(_plain(kit.db.model_dump_json()) for kit in kits
                   if kit and kit.db)


def _plain(text: str) -> str:
  """Lower case; digits without what people put around them."""
  return re.sub(r'[ .()+-]+(?=\d)|(?<=\d)[ .()-]+', '', text.lower())


def look(samples: Iterable[sample_lib.Sample],
         envs: Mapping[str, env_lib.Env], *, drop: bool
         ) -> tuple[list[sample_lib.Sample], dict[str, Any]]:
  """Flags secrets and personal data.

  Args:
    samples: those without a task pass.
    envs: of each domain by its name.
    drop: rejects what is flagged.

  Returns:
    the samples; and, for the manifest, how many are flagged by kind, with an
    example of each that does not show it in full.
  """
  kept, counts, examples = [], collections.Counter(), {}
  for sample in samples:
    found = flags(envs[sample.task.domain], sample) if sample.task else []
    for kind, start in found:
      examples.setdefault(kind, f'{sample.task.id}: {start}')
    counts.update({kind for kind, _ in found})
    if found and drop:
      kind, start = found[0]
      sample = sample_lib.Sample(usage=sample.usage, rejection=types.Rejection(
          types.Worker.PERSONAL, kind, f'{sample.task.id}: {start}'))
    kept.append(sample)
  return kept, {'counts': dict(counts), 'examples': examples}
