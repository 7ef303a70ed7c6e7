"""Imports a published corpus as a data stage.

Two kinds of JSON lines are read. *Dialogues*, one assistant turn a row:
`messages` before it (OpenAI's form, system prompt included), `answer`
(content, thinking, tool_calls) and `metadata` (source_dialog_id,
reason_for_call, correct, reward). *Tasks* in tau2-bench's form, whose
`evaluation_criteria` may be JSON text and whose `db_path` names the database
that they start from. The form is that of the corpus of arXiv:2601.22607.

The corpus is not trusted: it goes through the gates of `eigendata/output.py`,
the gold calls of tasks are executed, and the manifest counts the dropped rows
by reason. The folder has the form of any data stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
import dataclasses
import itertools
import json
import pathlib
from typing import Any

import ml_collections
import tqdm

from agentrl import files
from agentrl import jsons
from agentrl import types
from agentrl.eigendata import rejection
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata.published import rows as rows_lib
from agentrl.eigendata.tau2 import certify
from agentrl.eigendata.tau2 import domain as tau2_domain
from agentrl.eigendata.tau2 import stage as tau2_stage
from agentrl.envs import databases as databases_lib
from agentrl.stage import fields
from agentrl.stage import runs

# Fields of a row that define a task; the others are its makers' notes.
TASK_FIELDS = ('id', 'description', 'user_scenario', 'ticket', 'initial_state',
               'evaluation_criteria')
Row = rows_lib.Row
Envs = Mapping[str, tau2_domain.Tau2Domain]  # domain of the benchmark -> env


@dataclasses.dataclass(frozen=True)
class Config:
  """Holds the config's fields; configs/eigendata/published.py explains them."""

  seed: int
  domains: tuple[str, ...]
  env: Mapping[str, Any]
  dialogues: str
  tasks: str
  judged_on: str
  drop_failures: bool
  thinking: bool
  drop_flagged: bool


def read_config(config: ml_collections.ConfigDict,
                name: str = 'config') -> Config:
  """Returns the fields of a config, or raises ValueError; see `fields.read`."""
  return fields.read(Config, config, name=name)


def synthesize(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Writes the data stage; see configs/eigendata/published.py.

  Raises:
    ValueError: the config is wrong, or a file is missing.
  """
  config = read_config(config)
  tau2_stage.check_config(config.domains, config.judged_on)
  corpus = {name: pathlib.Path(path) for name, path in (
      ('dialogues', config.dialogues), ('tasks', config.tasks)) if path}
  for name, path in corpus.items():
    if not path.is_file():
      raise ValueError(f'config.{name}={str(path)!r} is not a file.')
  if not corpus:
    raise ValueError('Nothing to import: set config.dialogues or config.tasks '
                     'to a file of JSON lines.')
  stage = runs.start(workdir, 'data', config)
  if stage.done:
    return
  folder = stage.folder / databases_lib.FOLDER
  options = dict(config.env, databases=str(folder))
  envs = {env.domain: env for env in (
      tau2_domain.load(name, options, config.judged_on)
      for name in config.domains)}
  train = []
  if 'dialogues' in corpus:
    train += dialogues(corpus['dialogues'], envs,
                       drop_failures=config.drop_failures,
                       thinking=config.thinking)
  if 'tasks' in corpus:
    train += tasks(corpus['tasks'], envs, folder,
                   drop_failures=config.drop_failures)
  samples = {'train': without_repeats(train), 'test': [
      sample_lib.Sample(certify.with_certificate(env, task))
      for env in envs.values() for task in env.tasks(config.judged_on)]}
  tau2_stage.finish(
      stage, config, list(envs.values()), samples,
      sources={name: files.file_digest(path) for name, path in corpus.items()})


# --- Dialogues ---


def dialogues(path: pathlib.Path, envs: Envs, *, drop_failures: bool,
              thinking: bool) -> Iterator[sample_lib.Sample]:
  """Reads the dialogues of a file of one-turn rows, by their first rows.

  Rows of one dialogue are joined where one begins with all of another, each
  turn with the thinking of its own row; a row that fits no other is a dialogue
  of its own.

  Args:
    path: file of JSON lines.
    envs: domains whose dialogues are read.
    drop_failures: rejects dialogues that the makers' notes call wrong.
    thinking: keeps the thinking of the assistant.

  Yields:
    a sample for each dialogue, and one for each row that cannot be read.
  """
  groups: dict[str, list[int]] = {}
  for offset, line in _lines(path):
    try:
      groups.setdefault(_name(rows_lib.parse(line), offset), []).append(offset)
    except rejection.SampleRejected as e:
      yield _rejected(e.rejection, f'byte {offset}')
  with path.open('rb') as file:
    for name, offsets in tqdm.tqdm(groups.items(), unit='dialogue',
                                   desc='data, dialogues'):
      rows = []
      for offset in offsets:  # the whole file may not fit into memory
        file.seek(offset)
        rows.append(rows_lib.parse(file.readline()))
      for sample in _dialogues(name, rows, envs, drop_failures=drop_failures):
        yield sample if thinking else dataclasses.replace(
            sample,
            messages=tuple(map(rows_lib.unthought, sample.messages)))


def _lines(path: pathlib.Path) -> Iterator[tuple[int, bytes]]:
  """Yields (offset, line) of each line that is not empty."""
  with path.open('rb') as file:
    offset = 0
    for line in file:
      if line.strip():
        yield offset, line
      offset += len(line)


def _name(row: Row, offset: int) -> str:
  """Returns the name of the dialogue that a row is a turn of."""
  notes = rows_lib.metadata(row)
  return str(notes.get('source_dialog_id') or notes.get('scenario_id')
             or f'dialogue_{offset}')


def _dialogues(name: str, rows: Sequence[Row], envs: Envs, *,
               drop_failures: bool) -> Iterator[sample_lib.Sample]:
  """Yields the dialogues of the rows of one name."""
  try:
    for row in rows:
      if drop_failures and (why := _failure(rows_lib.metadata(row))):
        raise rejection.SampleRejected(types.Worker.FAILURES, why)
    for messages in rows_lib.joined(map(rows_lib.messages, rows)):
      env = _env(name, messages, envs)
      said = str(rows_lib.metadata(rows[0]).get('reason_for_call') or '')
      yield sample_lib.Sample(types.Task(
          name, env.name, said, split='train', brief=said),
          messages)
  except rejection.SampleRejected as e:
    yield _rejected(e.rejection, name)
  except RecursionError:
    yield sample_lib.Sample(rejection=types.Rejection(
        types.Worker.READ, 'nested too deep', name))


def _failure(notes: Mapping[str, Any]) -> str:
  """Returns the makers' note that says that it went wrong, or ''."""
  return next((f'{name} is {notes[name]}' for name in ('correct', 'reward')
               if isinstance(notes.get(name), (bool, int, float))
               and notes[name] < 1), '')


def _env(name: str, messages: Sequence[types.Message], envs: Envs
         ) -> tau2_domain.Tau2Domain:
  """Returns the domain that a name begins with, else the one with all its
  tools."""
  if named := [e for domain, e in envs.items() if name.startswith(domain)]:
    return named[0]
  called = {call.name for m in messages for call in m.tool_calls}
  task = types.Task('', '', '')
  fits = [env for env in envs.values() if called and called <= {
      tool['function']['name'] for side in ('assistant', 'user')
      for tool in env.tools(side, task)}]
  if len(fits) != 1:
    raise rejection.SampleRejected(
        types.Worker.READ, 'of no domain in config.domains',
        ', '.join(sorted(called))[:200])
  return fits[0]


# --- Tasks ---


def tasks(path: pathlib.Path, envs: Envs, folder: pathlib.Path, *,
          drop_failures: bool) -> Iterator[sample_lib.Sample]:
  """Reads the tasks of a file and certifies each.

  Args:
    path: file of JSON lines; `db_path` of a row is relative to its folder.
    envs: domains whose tasks are read; they look for databases in `folder`.
    folder: folder to copy the databases to, each under its hash.
    drop_failures: rejects tasks that the makers' notes call wrong.

  Raises:
    ValueError: a database is missing.
  """
  read: list[tuple[int, Row | rejection.SampleRejected]] = []
  for offset, line in _lines(path):
    try:
      read.append((offset, rows_lib.parse(line)))
    except rejection.SampleRejected as e:
      read.append((offset, e))
  wanted = {row['db_path'] for _, row in read
            if isinstance(row, dict) and isinstance(row.get('db_path'), str)}
  databases = {name: _stored(path.parent, name, folder)
               for name in sorted(wanted)}
  for offset, row in tqdm.tqdm(read, unit='task', desc='data, tasks'):
    try:
      if isinstance(row, rejection.SampleRejected):
        raise row
      if drop_failures and (why := _failure(row)):
        raise rejection.SampleRejected(types.Worker.FAILURES, why)
      yield sample_lib.Sample(_task(row, envs, databases))
    except rejection.SampleRejected as e:
      yield _rejected(e.rejection, f'byte {offset}')


def _stored(root: pathlib.Path, name: str, folder: pathlib.Path) -> str:
  """Copies a database to the folder of the environment; returns its hash.

  Raises:
    ValueError: the file is missing, or lies outside the corpus.
  """
  path = (root / name).resolve()
  if not path.is_relative_to(root.resolve()) or not path.is_file():
    raise ValueError(f'db_path={name!r} is no file below {root}: the databases '
                     'of a corpus lie beside its tasks. Copy them there.')
  digest = files.file_digest(path)
  files.write_bytes(folder / f'{digest}{path.suffix}', path.read_bytes())
  return digest


def _task(row: Row, envs: Envs, databases: Mapping[str, str]) -> types.Task:
  """Converts a row to a certified task.

  Raises:
    SampleRejected: the row has not the benchmark's form, or its gold calls do
      not earn 1.
  """
  record = rows_lib.bare({name: row.get(name) for name in TASK_FIELDS})
  name = str(record.get('id'))
  try:
    if isinstance(criteria := record.get('evaluation_criteria'), str):
      record['evaluation_criteria'] = rows_lib.bare(json.loads(criteria))
    env = envs[record['user_scenario']['instructions']['domain']]
    task = env.task(record)
  except (ValueError, KeyError, TypeError, RecursionError) as e:
    raise rejection.SampleRejected(
        types.Worker.READ, 'not of the form of a task in config.domains',
        f'{name}: {str(e)[:200]}') from e
  path = row.get('db_path')
  task = dataclasses.replace(
      task, split='train',
      database=databases[path] if isinstance(path, str) else '')
  try:
    task = certify.with_certificate(env, task)
  except Exception as e:  # the benchmark raises any error on foreign data
    raise rejection.SampleRejected(
        types.Worker.CERTIFICATE, 'it cannot be played',
        f'{name}: {type(e).__name__}: {str(e)[:200]}') from e
  if task.certificate.gold != (True,):
    raise rejection.SampleRejected(types.Worker.CERTIFICATE, 'gold fails', name)
  return task


# --- Both ---


def _rejected(why: types.Rejection, place: str) -> sample_lib.Sample:
  """Returns the sample of a rejected row, whose detail names its place."""
  return sample_lib.Sample(rejection=dataclasses.replace(
      why, detail=f'{place}: {why.detail}'))


def without_repeats(samples: Iterable[sample_lib.Sample]
                    ) -> list[sample_lib.Sample]:
  """Rejects repeated dialogues and tasks, and gives each task an id of its own.
  """
  unique, seen, names = [], set(), set()
  for s in samples:
    if s.task:
      asked = files.hash_text(jsons.dumps(s.messages or dataclasses.replace(
          s.task, id='', certificate=None)))
      if asked in seen:
        s = sample_lib.Sample(rejection=types.Rejection(
            types.Worker.DUPLICATES, 'seen before', s.task.id))
      seen.add(asked)
    if s.task:
      name = next(name for name in _names(s.task.id) if name not in names)
      names.add(name)
      s = dataclasses.replace(s, task=dataclasses.replace(s.task, id=name))
    unique.append(s)
  return unique


def _names(name: str) -> Iterator[str]:
  """Yields the name, and then with a number."""
  yield name
  yield from (f'{name}-{i}' for i in itertools.count(2))
