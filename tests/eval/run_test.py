"""An evaluation from its config to its folder."""

import dataclasses

import pytest

from agentrl import files
from agentrl import jsons
from agentrl.eval import floors
from agentrl.eval import results
from agentrl.eval import run
from agentrl.stage import inputs
from configs.eval import builtin


def test_measurement_names_what_differs(desk, tasks):
  base = dict(user='u1', protocol={'trials': 4})
  parts = run.measurement(desk, tasks, **base)
  assert parts == run.measurement(desk, tasks, **base)
  harder = [dataclasses.replace(tasks[0], checker='x'), *tasks[1:]]
  for part, other in {
      'user': run.measurement(desk, tasks, user='u2', protocol={'trials': 4}),
      'protocol': run.measurement(desk, tasks, user='u1', protocol={}),
      'tasks': run.measurement(desk, harder, **base)}.items():
    assert [k for k in parts if parts[k] != other[k]] == [part]


def test_slots_do_not_change_the_measurement_but_temperature_does():
  config = builtin.get_config()
  protocol = lambda: run._protocol(run.read_config(config))
  base = protocol()
  config.sampler.update(slots=7, width=3, chunks=(4,), burst=2)
  assert protocol() == base
  config.user_sampler.temperature += 0.25
  assert protocol() != base


@pytest.fixture
def config(desk, tasks, tmp_path):
  """Of a scripted evaluation on a data folder with the five tasks."""
  data = tmp_path / 'data'
  lines = data / 'tasks_test.jsonl'
  files.write_lines(lines, map(jsons.dumps, tasks))
  files.write_json(data / 'manifest.json', {
      'format': inputs.FORMAT, 'stage': 'data',
      'made': {lines.name: files.file_digest(lines)}})
  config = builtin.get_config('script=gold')
  config.domains, config.env, config.data = ('desk',), {}, str(data)
  config.trials = 2
  return config


def test_an_evaluation_is_written_whole_and_not_repeated(
    config, tasks, tmp_path):
  folder = tmp_path / 'eval'
  run.evaluate(config, str(folder))
  figures = files.read_json(folder / 'metrics.json')
  assert figures['pass^2'] == 1 and figures['gold'] == 1
  assert figures['measurement'] and figures['versions']['python']
  episodes = list(results.read_transcripts(folder))
  assert [name for name, _ in episodes[::2]] == list(figures['tasks'])
  assert [e.trial for _, e in episodes] == [0, 1] * len(tasks)
  before = (folder / 'manifest.json').stat().st_mtime_ns
  run.evaluate(config, str(folder))
  assert (folder / 'manifest.json').stat().st_mtime_ns == before


def test_scripts_measure_as_their_floors_say(config, tmp_path):
  figures = {}
  for script in ('noop', 'refuse'):
    config.agent = f'agentrl.eval.floors:{script}'
    run.evaluate(config, str(tmp_path / script))
    figures[script] = files.read_json(tmp_path / script / 'metrics.json')
  for script, values in figures.items():
    assert values['pass^1'] == values['floors'][script]
  with pytest.raises(ValueError, match='different: user'):
    results.compare(tmp_path / 'noop', tmp_path / 'refuse')


def test_unfinished_data_is_refused(config, tmp_path):
  (tmp_path / 'data' / 'manifest.json').unlink()
  with pytest.raises(ValueError, match='config.data.*run that stage first'):
    run.evaluate(config, str(tmp_path / 'eval'))
  assert not (tmp_path / 'eval').exists()


def test_the_configs_scripts_exist():
  for script in ('noop', 'refuse', 'transfer', 'gold'):
    config = builtin.get_config(f'script={script}')
    assert config.agent.endswith(f':{script}') and hasattr(floors, script)
    assert 'user' not in config


def test_a_folder_with_a_colon_is_no_script(config, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'agent:v2').mkdir()
  for name, value in builtin.get_config().items():
    if name not in config:
      config[name] = value
  config.user = 'user'
  for agent in ('agent:v2', 'runs/12:30/grpo', 'gs://bucket/grpo'):
    config.agent = agent
    with pytest.raises(ValueError, match=f"config.agent='{agent}' is not the"):
      run.evaluate(config, str(tmp_path / 'eval'))
