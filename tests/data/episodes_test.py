"""Dialogues are written whole, read back exactly, and never read corrupt."""

import dataclasses
import os

import ml_collections
import pytest

from agentrl import files
from agentrl import jsons
from agentrl import testing
from agentrl import types
from agentrl.data import episodes
from agentrl.stage import inputs
from agentrl.stage import runs

CALL = types.ToolCall('echo', {'text': 'Grüße', 'n': [1, None]}, id='1.0')
DIALOGUES = [
    (testing.echo_task(word, gold=types.GoldRun((), ())), (
        types.Message('user', f'Say {word}.', requestor='user'),
        types.Message('assistant', tool_calls=(CALL,)),
        types.Message('tool', word, id='1.0', error=True)))
    for word in ('maple', 'otter', 'piano')]


def stage(folder, dialogues=DIALOGUES):
  """A finished data stage of the dialogues."""
  run = runs.start(folder, 'data', ml_collections.ConfigDict({'seed': 0}))
  files.write_lines(run.folder / 'tasks_train.jsonl',
                      (jsons.dumps(t) for t, _ in dialogues))
  digest, shards = episodes.write(
      run.folder, (episodes.record(t, m, {'n': 1}) for t, m in dialogues))
  run.finish({'episodes': digest}, files=shards)
  return run.folder


def test_what_is_read_is_what_was_written(tmp_path):
  folder = stage(tmp_path)
  assert list(episodes.read(folder)) == DIALOGUES
  assert episodes.tasks(folder, 'train') == [t for t, _ in DIALOGUES]


def test_the_digest_is_of_the_content(tmp_path):
  digests = [inputs.resolve(stage(tmp_path / name, dialogues)).digest
             for name, dialogues in (('a', DIALOGUES), ('b', DIALOGUES),
                           ('c', DIALOGUES[::-1]))]
  assert digests[0] == digests[1] != digests[2]


def test_a_failed_write_leaves_no_dialogues(tmp_path):
  def broken():
    yield episodes.record(*DIALOGUES[0], {})
    raise OSError('No space left on device')
  with pytest.raises(OSError, match='No space'):
    episodes.write(tmp_path, broken())
  assert not (tmp_path / episodes.FOLDER).exists()
  episodes.write(tmp_path, [episodes.record(*DIALOGUES[0], {})])  # once more
  assert os.listdir(tmp_path) == [episodes.FOLDER]


def test_a_corrupt_or_missing_file_is_an_error(tmp_path):
  folder = stage(tmp_path)
  shard = next(folder.glob('episodes/*array_record*'))
  whole = shard.read_bytes()
  shard.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
  with pytest.raises(ValueError, match='array_record.* is corrupt'):
    next(episodes.read(folder))
  shard.unlink()
  with pytest.raises(ValueError, match='array_record.* is gone'):
    next(episodes.read(folder))
  with (folder / 'tasks_train.jsonl').open('a') as file:
    file.write('{}\n')
  with pytest.raises(ValueError, match='tasks_train.jsonl is corrupt'):
    episodes.tasks(folder, 'train')


def test_a_folder_of_another_kind_is_an_error(tmp_path):
  with pytest.raises(ValueError, match='config.data=.* is not the folder'):
    next(episodes.read(tmp_path))
  with pytest.raises(ValueError, match="Did you mean 'tasks_train.jsonl'"):
    episodes.tasks(stage(tmp_path / 'a'), 'trains')
  runs.start(tmp_path / 'b', 'sft', ml_collections.ConfigDict()).finish()
  with pytest.raises(ValueError, match='holds no dialogues'):
    next(episodes.read(tmp_path / 'b'))


def test_a_task_whose_gold_fails_is_named():
  env = testing.EchoEnv()
  def task(word, said):
    gold = types.GoldRun((types.Message('assistant', said),), ())
    return dataclasses.replace(testing.echo_task(word), gold=gold)
  episodes.verify(env, [task('maple', 'maple'), testing.echo_task('x')])
  with pytest.raises(ValueError, match=r"say-otter fails \(\['the word is"):
    episodes.verify(env, [task('maple', 'maple'), task('otter', 'maple')])


def test_a_gold_run_that_needs_a_judge_is_not_checked():
  class Judged(testing.EchoEnv):
    def score(self, *args):
      return types.Score(0.0, unjudged=True)
  gold = types.GoldRun((types.Message('assistant', 'maple'),), ())
  episodes.verify(Judged(), [testing.echo_task('maple', gold=gold)])
