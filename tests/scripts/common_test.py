"""Wrong command lines end in one line that says how to mend them."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
CONFIG = '--config=configs/eigendata/builtin.py'


def run(*args):
  return subprocess.run(
      [sys.executable, 'scripts/synthesize.py', *args], cwd=ROOT,
      capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize('args, text', [
    ((CONFIG, '--config.seeed=1'), "has no 'seeed'. Did you mean 'seed'?"),
    ((CONFIG, '--config.llm_kw.mistakes.usr=0.1'),
     "has no 'llm_kw.mistakes.usr'. Did you mean 'user'?"),
    ((CONFIG, '--config.seed=x'), "invalid literal for int"),
    (('--config=configs/none.py',), 'configs/none.py'),
    ((CONFIG, '--config.domains=("ordrs",)'), "No domain at 'ordrs'"),
    ((CONFIG, '--config.llm_kw.mistakes.user=2.0'), 'must be within 0 .. 1'),
])
def test_one_line_and_a_code(tmp_path, args, text):
  process = run(f'--workdir={tmp_path}/data', *args)
  assert process.returncode == 1
  assert text in process.stderr and process.stderr.count('\n') <= 2
  assert 'Traceback' not in process.stderr


def test_a_folder_is_required():
  process = run(CONFIG)
  assert process.returncode == 1
  assert 'workdir must have a value' in process.stderr


def test_a_bug_or_a_wish_shows_where_it_came_from(tmp_path):
  process = run(CONFIG, '--config.llm=a:b', f'--workdir={tmp_path}/data',
                '--traceback')
  assert 'Traceback' in process.stderr
  assert "Cannot import 'a:b'" in process.stderr


def test_a_field_without_effect_is_refused(tmp_path):
  file = tmp_path / 'mine.py'
  file.write_text('from configs.eigendata import builtin\n'
                  'def get_config():\n'
                  '  c = builtin.get_config()\n'
                  '  c.num_trian = 5\n'
                  '  return c\n')
  process = run(f'--config={file}', f'--workdir={tmp_path}/data')
  assert process.returncode == 1
  assert "config.num_trian would have no effect" in process.stderr
  assert "Did you mean 'num_train'" in process.stderr
  assert not (tmp_path / 'data').exists()


def test_a_full_disk_ends_in_a_line_and_leaves_nothing_half_written(tmp_path):
  # Files of 20 KiB at most: the tasks do not fit.
  process = subprocess.run(
      ['bash', '-c', 'ulimit -f 20; exec "$@"', 'bash', sys.executable,
       'scripts/synthesize.py', CONFIG, f'--workdir={tmp_path}/data',
       '--config.num_train=20', '--config.num_test=2', '--config.databases=2',
       '--config.workers=1'],
      cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
  assert process.returncode == 1, process.stderr
  assert process.stderr.splitlines()[-1].startswith('Error: [Errno 27]')
  assert 'Traceback' not in process.stderr
  names = {path.name for path in (tmp_path / 'data').iterdir()}
  assert 'config.json' in names
  assert not names & {'manifest.json', 'tasks_train.jsonl', 'episodes'}


def test_scripts_without_a_config_run(tmp_path):
  process = subprocess.run(
      [sys.executable, 'scripts/report.py', f'--workdir={tmp_path}'], cwd=ROOT,
      capture_output=True, text=True, timeout=60, check=False)
  assert 'Traceback' not in process.stderr
  assert process.returncode == 1 or 'report.html' in process.stdout
