"""What the documentation has people type is taken: every script is there, with
its flags, and every config has the fields."""

import importlib
import pathlib
import re
import shlex

import ml_collections
import pytest

ROOT = pathlib.Path(__file__).parent.parent
FILES = [ROOT / 'README.md', ROOT / 'BUILD.md',
         *sorted((ROOT / 'configs').rglob('*.py')),
         *sorted((ROOT / 'scripts').glob('*.py'))]
COMMAND = re.compile(r'python (scripts/\w+\.py)((?:\\\n|[^\n`\\])*)')
# As `on=--config.data=$a/data` in README.md; `<a name>` stands for any.
VARIABLE, NAME = re.compile(r'(?<=[ ;])(\w+)=(--\S+)'), re.compile(r'<[^>]*>')


def commands(text):
  """(script, its flags as {name: value}) of each command that is shown."""
  short = dict(VARIABLE.findall(text))
  for script, rest in COMMAND.findall(text):
    for name, value in short.items():
      rest = rest.replace(f'${name}', value)
    words = shlex.split(NAME.sub('x', rest.replace('\\\n', ' ')), comments=True)
    flags = [w.strip('[]')[2:].partition('=') for w in words if '--' in w[:3]]
    yield script, {name: value for name, _, value in flags}


def assert_taken(script, flags):
  code = (ROOT / script).read_text()
  if 'import common' in code:
    code += (ROOT / 'scripts/common.py').read_text()
  fields = [name[7:] for name in flags if name.startswith('config.')]
  for name in {*flags} - {f'config.{field}' for field in fields}:
    assert f"'{name}'" in code, f'{script} has no flag {name}'
  path, _, arg = flags.get('config', '').partition(':')
  if '$' in arg or not path.endswith('.py'):
    assert not fields
    return
  get = importlib.import_module(path[:-3].replace('/', '.')).get_config
  config = get(arg) if arg else get()
  for field in fields:
    holder = config
    for part in field.split('.'):
      assert isinstance(holder, ml_collections.ConfigDict), field
      assert part in holder, f'{path}:{arg} has no {field}'
      holder = holder[part]


@pytest.mark.parametrize(
    'path', FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_are_taken(path):
  for script, flags in commands(path.read_text()):
    assert_taken(script, flags)


def test_the_commands_are_found():
  found = list(commands((ROOT / 'README.md').read_text()))
  assert len(found) > 15
  grpo, = [flags for script, flags in found if script.endswith('grpo.py')]
  assert {'config.data', 'config.user', 'config.init_from'} <= {*grpo}
  with pytest.raises(AssertionError, match='has no totl_steps'):
    assert_taken('scripts/train_grpo.py', {**grpo, 'config.totl_steps': '1'})
