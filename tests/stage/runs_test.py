"""Stage folders: finished or not, same config or not, which hash."""

import ml_collections
import pytest

from agentrl import files
from agentrl import metrics
from agentrl.stage import inputs
from agentrl.stage import runs


def config(**fields):
  return ml_collections.ConfigDict({'a': 1, 'deep': {'b': (1, 2)}, **fields})


def finished(folder, stage='data', text='x'):
  run = runs.start(folder, stage, config())
  files.write_text(run.folder / 'out.txt', text)
  run.finish(made={'params': 'abc'}, count=3)
  return folder


def test_a_stage_is_done_once_its_manifest_is_there(tmp_path):
  run = runs.start(tmp_path / 's', 'data', config())
  assert not run.done
  assert not runs.start(tmp_path / 's', 'data', config()).done  # goes on
  run.finish(count=3)
  assert runs.start(tmp_path / 's', 'data', config()).done
  manifest = inputs.manifest(tmp_path / 's')
  assert manifest['count'] == 3 and manifest['versions']['jax']
  assert manifest['peak_memory_gib'] > 0


def test_another_config_or_other_inputs_are_refused(tmp_path):
  for name in 'st':
    (tmp_path / name / 'checkpoints').mkdir(parents=True)
  runs.start(tmp_path / 's', 'data', config())
  with pytest.raises(ValueError, match=r'config.deep.b was \[1, 2\], is \[3\]'):
    runs.start(tmp_path / 's', 'data', config(deep={'b': (3,)}))
  one = finished(tmp_path / 'one')
  two = finished(tmp_path / 'two', text='y')
  runs.start(tmp_path / 't', 'sft', config(), {'data': one})
  with pytest.raises(ValueError, match='inputs.data was'):
    runs.start(tmp_path / 't', 'sft', config(), {'data': two})


def test_a_stage_that_failed_at_once_takes_a_mended_config(tmp_path):
  runs.start(tmp_path, 'data', config())
  runs.start(tmp_path, 'data', config(deep={'b': (3,)}))
  written = files.read_json(tmp_path / 'config.json')
  assert written['config']['deep']['b'] == [3]


def test_inputs_must_be_finished_stages(tmp_path):
  with pytest.raises(ValueError, match='config.user=.*not the folder of a'):
    runs.start(tmp_path / 's', 'x', config(), {'user': str(tmp_path / 'no')})
  runs.start(tmp_path / 'half', 'data', config())
  with pytest.raises(ValueError, match='has not finished'):
    inputs.resolve(tmp_path / 'half')
  with pytest.raises(ValueError, match="config.data is ''.*synthesize.py"):
    runs.start(tmp_path / 's', 'x', config(), {'data': ''})
  assert not (tmp_path / 's').exists()


@pytest.mark.parametrize('name', ['manifest.json', 'config.json'])
@pytest.mark.parametrize('version', [None, inputs.FORMAT - 1])
def test_a_folder_made_by_older_code_is_refused(tmp_path, name, version):
  folder = finished(tmp_path / 's')
  facts = files.read_json(folder / name)
  del facts['format']
  files.write_json(folder / name, facts | (
      {} if version is None else {'format': version}))
  words = 's was made by an older version of agentrl: run that stage again in'
  with pytest.raises(ValueError, match=words):
    runs.start(folder, 'data', config())
  if name == 'manifest.json':
    with pytest.raises(ValueError, match=f"config.data='.*{words[2:]}"):
      runs.start(tmp_path / 't', 'sft', config(), {'data': folder})
    with pytest.raises(ValueError, match=words):
      runs.is_done(folder)


def test_an_input_is_resolved_once(tmp_path):
  folder = finished(tmp_path / 's')
  run = runs.start(tmp_path / 't', 'sft', config(), {'data': str(folder)})
  data = run.inputs['data']
  assert data.path == folder and data.manifest['count'] == 3
  assert data.label == f"config.data='{folder}'"
  assert inputs.resolve(data, 'other') is data
  written = files.read_json(tmp_path / 't' / 'config.json')
  assert written['inputs'] == {'data': data.digest}


def test_the_digest_is_of_what_was_made_not_of_how_long_it_took(tmp_path):
  one, two = finished(tmp_path / 'a'), finished(tmp_path / 'b')
  metrics.MetricsWriter(two).write(0, {'time/step_s': 1.0})
  digest = lambda folder: inputs.resolve(folder).digest
  assert digest(one) == digest(two)
  assert digest(one) != digest(finished(tmp_path / 'c', text='y'))


def test_metrics_go_on_as_if_never_stopped(tmp_path):
  writer = metrics.MetricsWriter(tmp_path)
  for step in range(4):
    writer.write(step, {'loss': float(step), 'bad': float('nan')})
  with open(tmp_path / 'metrics.jsonl', 'a') as file:
    file.write('{"step": 4, "lo')  # killed in the middle of a line
  assert len(metrics.read(tmp_path)) == 4
  metrics.MetricsWriter(tmp_path, 2).write(2, {'loss': 9.0})
  assert [(r['step'], r['loss']) for r in metrics.read(tmp_path)] == [
      (0, 0.0), (1, 1.0), (2, 9.0)]
  assert metrics.read(tmp_path)[0]['bad'] is None
  (tmp_path / 'metrics.jsonl').write_text('{"ste\n{"step": 1}\n')
  with pytest.raises(ValueError, match='is broken'):
    metrics.read(tmp_path)


def test_nothing_is_half_written(tmp_path):
  files.write_json(tmp_path / 'x.json', {'a': 1})
  with pytest.raises(TypeError):
    files.write_json(tmp_path / 'x.json', {'a': object()})
  assert files.read_json(tmp_path / 'x.json') == {'a': 1}
  with pytest.raises(ValueError, match='There is no'):
    files.read_json(tmp_path / 'y.json')
  (tmp_path / 'x.json').write_text('{')
  with pytest.raises(ValueError, match='is not JSON'):
    files.read_json(tmp_path / 'x.json')
