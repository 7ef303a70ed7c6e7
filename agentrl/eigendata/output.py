"""Ends a data stage: gates, tasks, dialogues, databases, figures, manifest.

Writes `tasks_train.jsonl` and `tasks_test.jsonl`, both also in the form of
tau2-bench (`envs/tau2/task_format.py`), the dialogues (`episodes/`),
`stats.json` for the report, and the manifest; removes databases (`databases/`)
that no task starts from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import pathlib
from typing import Any

from agentrl import files
from agentrl import jsons
from agentrl import types
from agentrl.data import episodes
from agentrl.eigendata import sample as sample_lib
from agentrl.eigendata import source
from agentrl.eigendata.check import certify
from agentrl.eigendata.check import held_out
from agentrl.eigendata.check import personal
from agentrl.eigendata.scale import statistics
from agentrl.envs import databases
from agentrl.envs import env as env_lib
from agentrl.envs.tau2 import task_format
from agentrl.stage import runs

# Figures of each split that the manifest repeats from `stats.json`.
FIGURES = ('kept', 'tried', 'rejected', 'repaired', 'mutants', 'floors',
           'kinds')


def gate(samples: Mapping[str, Sequence[sample_lib.Sample]],
         held: Mapping[str, held_out.HeldOut],
         envs: Mapping[str, source.WritableEnv], *, drop_flagged: bool
         ) -> tuple[dict[str, Sequence[sample_lib.Sample]], dict[str, Any]]:
  """Rejects training samples that the evaluation or privacy forbids.

  Args:
    samples: split -> samples.
    held: name of a domain -> contents of its evaluation tasks.
    envs: name -> environment of each domain.
    drop_flagged: whether samples with secrets or personal data are rejected.

  Returns:
    the samples; and figures of the flagged ones, for the manifest.
  """
  train, flagged = personal.flag_personal(
      held_out.drop_overlaps(samples['train'], held), envs, drop=drop_flagged)
  return {**samples, 'train': train}, flagged


def write(stage: runs.Run, samples: Mapping[str, Sequence[sample_lib.Sample]],
          envs: Mapping[str, env_lib.Env], **facts: Any) -> None:
  """Writes the files of a data stage and finishes it.

  Args:
    stage: the stage under way.
    samples: split -> samples that have passed the gates, and rejected ones. In
      `train`, samples with messages are dialogues to train on.
    envs: name -> environment of each domain.
    **facts: further entries of the manifest.
  """
  tasks = {split: unique_tasks(own) for split, own in samples.items()}
  for split, own in tasks.items():
    files.write_lines(stage.folder / f'tasks_{split}.jsonl',
                      map(jsons.dumps, own))
    task_format.write(stage.folder, split, own)
  used = sorted({t.database for own in tasks.values() for t in own} - {''})
  databases.prune(stage.folder / databases.FOLDER, used)
  made, shards = _write_dialogues(stage.folder, samples['train'])
  stats = {split: statistics.describe(own) for split, own in samples.items()}
  files.write_json(stage.folder / 'stats.json', stats)
  stage.finish(
      made, files=shards, databases=used,
      environments={name: certify.fingerprint(e) for name, e in envs.items()},
      **facts, **{split: {name: figures[name] for name in FIGURES}
                  for split, figures in stats.items()})


def unique_tasks(samples: Iterable[sample_lib.Sample]) -> list[types.Task]:
  """Returns each task once, however many dialogues it has.

  A task without checker and certificate only names its dialogue: it cannot be
  judged, so it is left out.
  """
  return list({(s.task.domain, s.task.id): s.task for s in samples
               if s.task and (s.task.checker or s.task.certificate)}.values())


def _write_dialogues(folder: pathlib.Path,
                     samples: Iterable[sample_lib.Sample]
                     ) -> tuple[dict[str, str], dict[str, str]]:
  """Writes the dialogues as a TFDS data set, if there are any.

  Returns:
    name of the data set -> its hash, and the hash of each of its files.
  """
  records = [episodes.record(s.task, s.messages, {
      'repaired': tuple(r.name for r in s.repaired)})
             for s in samples if s.task and s.messages]
  if not records:
    return {}, {}
  digest, shards = episodes.write(folder, records)
  return {episodes.FOLDER: digest}, shards
