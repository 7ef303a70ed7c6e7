"""Files are whole or absent, and a stopped run reads as if it never was."""

from concurrent import futures
import json
import math

import numpy as np
import pytest

from agentrl import files
from agentrl import metrics


def test_json_is_replaced_whole_or_not_at_all(tmp_path):
  path = tmp_path / 'deep' / 'a.json'
  files.write_json(path, {'a': 1})
  with pytest.raises(TypeError):
    files.write_json(path, {'a': object()})
  assert files.read_json(path) == {'a': 1}
  assert [p.name for p in path.parent.iterdir()] == ['a.json']


def test_threads_may_write_the_same_file(tmp_path):
  write = lambda n: files.write_json(tmp_path / 'a.json', [n])
  with futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(write, range(400)))
  assert files.read_json(tmp_path / 'a.json')[0] in range(400)
  assert [p.name for p in tmp_path.iterdir()] == ['a.json']


@pytest.mark.parametrize('text, problem', [
    ('{"a": ', 'is not JSON'), (None, 'has the stage that writes it')])
def test_absent_or_broken_json_is_an_error(tmp_path, text, problem):
  path = tmp_path / 'a.json'
  if text is not None:
    path.write_text(text)
  with pytest.raises(ValueError, match=problem):
    files.read_json(path)


def test_steps_are_lines_of_json(tmp_path):
  writer = metrics.MetricsWriter(tmp_path)
  writer.write(0, {'loss': np.float32(0.5), 'n': 3, 'best': True,
                   'why': 'none', 'bad': math.nan, 'far': np.inf})
  assert metrics.read(tmp_path) == [  # before it is closed
      {'step': 0, 'loss': 0.5, 'n': 3, 'best': True, 'why': 'none',
       'bad': None, 'far': None}]
  writer.close()


def test_a_half_line_of_a_killed_run_is_left_out(tmp_path):
  writer = metrics.MetricsWriter(tmp_path)
  for step in range(3):
    writer.write(step, {'loss': step})
  writer.close()
  path = tmp_path / 'metrics.jsonl'
  path.write_text(path.read_text() + '{"step": 3, "lo')
  assert [r['step'] for r in metrics.read(tmp_path)] == [0, 1, 2]


def test_going_on_from_a_step_drops_what_came_after(tmp_path):
  writer = metrics.MetricsWriter(tmp_path)
  for step in range(5):
    writer.write(step, {'run': 1})
  writer.close()
  writer = metrics.MetricsWriter(tmp_path, step=3)
  writer.write(3, {'run': 2})
  writer.close()
  assert metrics.read(tmp_path) == [
      {'step': s, 'run': 1 + (s == 3)} for s in range(4)]


def test_a_broken_line_in_the_middle_is_an_error(tmp_path):
  (tmp_path / 'metrics.jsonl').write_text('{"step": 0}\n{"st\n{"step": 2}\n')
  with pytest.raises(ValueError, match='metrics.jsonl is broken'):
    metrics.read(tmp_path)


def test_no_metrics_yet(tmp_path):
  assert metrics.read(tmp_path) == []
  files.write_lines(tmp_path / 'a.jsonl', map(json.dumps, ({}, [])))
  assert (tmp_path / 'a.jsonl').read_text() == '{}\n[]\n'
