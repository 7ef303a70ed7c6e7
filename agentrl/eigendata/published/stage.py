"""The data stage from a corpus that others have made and published.

Two kinds of JSON lines are read. *Dialogues*, one assistant turn a row:
`messages` before it (OpenAI's form, system prompt included), `answer`
(content, thinking, tool_calls) and `metadata` (source_dialog_id,
reason_for_call, correct, reward). *Tasks* in tau2-bench's form, whose
`evaluation_criteria` may be JSON text and whose `db_path` names the database
that they start from. The form is that of the corpus of arXiv:2601.22607.

What is read is not trusted: it goes through the gates of `guards.py`, the gold
calls of tasks are executed, and the manifest says what was dropped and why.
The folder is that of any data stage.
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
from agentrl.eigendata.tau2 import stage as tau2_writer
from agentrl.envs import databases as databases_lib
from agentrl.envs import load as env_load
from agentrl.envs.tau2 import env as tau2
from agentrl.stage import fields
from agentrl.stage import runs

# Of a row; the others are notes of its makers.
TASK_FIELDS = ('id', 'description', 'user_scenario', 'ticket', 'initial_state',
               'evaluation_criteria')
Row = rows_lib.Row
Envs = Mapping[str, tau2.Tau2]  # by name of the benchmark's domain


@dataclasses.dataclass(frozen=True)
class Config:
  """Fields of the config; configs/eigendata/published.py explains them."""

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
    ValueError: a wrong config, or a file that is missing.
  """
  config = read_config(config)
  tau2_writer.check_config(config.domains, config.judged_on)
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
      env_load.load(name, options) for name in config.domains)}
  train = []
  if 'dialogues' in corpus:
    train += dialogues(corpus['dialogues'], envs,
                       drop_failures=config.drop_failures,
                       thinking=config.thinking)
  if 'tasks' in corpus:
    train += tasks(corpus['tasks'], envs, folder,
                   drop_failures=config.drop_failures)
  found = {'train': once(train), 'test': [
      sample_lib.Sample(tau2_writer.certified(env, task))
      for env in envs.values() for task in env.tasks(config.judged_on)]}
  tau2_writer.finish(
      stage, config, list(envs.values()), found,
      sources={name: files.file_digest(path) for name, path in corpus.items()},
      databases=sorted(p.stem for p in folder.glob('*')))


# --- Dialogues ---


def dialogues(path: pathlib.Path, envs: Envs, *, drop_failures: bool,
              thinking: bool) -> Iterator[sample_lib.Sample]:
  """Dialogues of a file of one-turn rows, in the order of their first rows.

  Rows of one dialogue are put together again where one begins with all of
  another, each turn with the thinking of its own row; a row that fits no other
  is a dialogue of its own.

  Args:
    path: of the file.
    envs: of the domains that count.
    drop_failures: leaves out what its makers' notes call wrong.
    thinking: keeps what the assistant thought.

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
  """(offset, line) of each line that is not empty."""
  with path.open('rb') as file:
    offset = 0
    for line in file:
      if line.strip():
        yield offset, line
      offset += len(line)


def _name(row: Row, offset: int) -> str:
  """Of the dialogue that a row is a turn of."""
  about = rows_lib.about(row)
  return str(about.get('source_dialog_id') or about.get('scenario_id')
             or f'dialogue_{offset}')


def _dialogues(name: str, rows: Sequence[Row], envs: Envs, *,
               drop_failures: bool) -> Iterator[sample_lib.Sample]:
  """The dialogues that the rows of one name are turns of."""
  try:
    for row in rows:
      if drop_failures and (why := _failure(rows_lib.about(row))):
        raise rejection.SampleRejected(types.Worker.FAILURES, why)
    for messages in rows_lib.joined(map(rows_lib.messages, rows)):
      env = _env(name, messages, envs)
      said = str(rows_lib.about(rows[0]).get('reason_for_call') or '')
      yield sample_lib.Sample(types.Task(
          name, env.name, said, split='train', brief=said),
          messages)
  except rejection.SampleRejected as e:
    yield _rejected(e.rejection, name)
  except RecursionError:
    yield sample_lib.Sample(rejection=types.Rejection(
        types.Worker.READ, 'nested too deep', name))


def _failure(about: Mapping[str, Any]) -> str:
  """Which of its makers' notes says that it went wrong; '' if none does."""
  return next((f'{name} is {about[name]}' for name in ('correct', 'reward')
               if isinstance(about.get(name), (bool, int, float))
               and about[name] < 1), '')


def _env(name: str, messages: Sequence[types.Message], envs: Envs
         ) -> tau2.Tau2:
  """The domain that a name begins with, else the one with all its tools."""
  if found := [e for domain, e in envs.items() if name.startswith(domain)]:
    return found[0]
  called = {call.name for m in messages for call in m.tool_calls}
  task = types.Task('', '', '')
  found = [env for env in envs.values() if called and called <= {
      tool['function']['name'] for side in ('assistant', 'user')
      for tool in env.tools(side, task)}]
  if len(found) != 1:
    raise rejection.SampleRejected(
        types.Worker.READ, 'of no domain in config.domains',
        ', '.join(sorted(called))[:200])
  return found[0]


# --- Tasks ---


def tasks(path: pathlib.Path, envs: Envs, folder: pathlib.Path, *,
          drop_failures: bool) -> Iterator[sample_lib.Sample]:
  """Tasks of a file, each with a certificate.

  Args:
    path: of the file; `db_path` of a row starts from its folder.
    envs: which look for databases in `folder`.
    folder: where the databases go, each under its hash.
    drop_failures: leaves out what its makers' notes call wrong.

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
  """Copies a database to where the environment finds it; its hash.

  Raises:
    ValueError: it is not there, or lies outside the corpus.
  """
  path = (root / name).resolve()
  if not path.is_relative_to(root.resolve()) or not path.is_file():
    raise ValueError(f'db_path={name!r} is no file below {root}: the databases '
                     'of a corpus lie beside its tasks. Copy them there.')
  digest = files.file_digest(path)
  files.write_bytes(folder / f'{digest}{path.suffix}', path.read_bytes())
  return digest


def _task(row: Row, envs: Envs, databases: Mapping[str, str]) -> types.Task:
  """A certified task.

  Raises:
    SampleRejected: it is not of the benchmark's form, or its gold calls do
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
        types.Worker.READ, 'not of the form of a task in ' 'config.domains',
        f'{name}: {str(e)[:200]}') from e
  task = dataclasses.replace(task, split='train', database=databases.get(
      row.get('db_path'), ''))
  try:
    task = tau2_writer.certified(env, task)
  except Exception as e:  # of the benchmark, on what others wrote
    raise rejection.SampleRejected(
        types.Worker.CERTIFICATE, 'it cannot be played',
        f'{name}: {type(e).__name__}: {str(e)[:200]}') from e
  if task.certificate.gold != (True,):
    raise rejection.SampleRejected(types.Worker.CERTIFICATE, 'gold fails', name)
  return task


# --- Both ---


def _rejected(why: types.Rejection, place: str) -> sample_lib.Sample:
  """Returns the sample that stands for a rejected row, and says where it is."""
  return sample_lib.Sample(rejection=dataclasses.replace(
      why, detail=f'{place}: {why.detail}'))


def once(samples: Iterable[sample_lib.Sample]) -> list[sample_lib.Sample]:
  """Each dialogue or task once; another one of the same id gets its own."""
  found, seen, names = [], set(), set()
  for s in samples:
    if s.task:
      asked = files.hash_text(jsons.dumps(
          s.messages or dataclasses.replace(s.task, id='')))
      if asked in seen:
        s = sample_lib.Sample(rejection=types.Rejection(
            types.Worker.DUPLICATES, 'seen before', s.task.id))
      seen.add(asked)
    if s.task:
      name = next(name for name in _names(s.task.id) if name not in names)
      names.add(name)
      s = dataclasses.replace(s, task=dataclasses.replace(s.task, id=name))
    found.append(s)
  return found


def _names(name: str) -> Iterator[str]:
  """The name, and then with a number."""
  yield name
  yield from (f'{name}-{i}' for i in itertools.count(2))
