"""Imports point down, no files import each other in a circle, functions import
optional extras alone, and files keep to their budget."""

import ast
from collections.abc import Iterator, Mapping
import dataclasses
import pathlib
import re
import sys

import pytest

REPO = pathlib.Path(__file__).parent.parent
ROOT = REPO / 'agentrl'
# Each part of agentrl may import itself and the rows above its own.
ROWS = (
    ('types', 'jsons', 'resolve', 'shapes', 'files', 'seeds'), ('metrics',),
    ('tokenizer', 'models', 'checkpoint', 'llm', 'envs'), ('sharding',),
    ('train', 'stage'), ('data',), ('rollout',), ('eigendata', 'eval'),
    ('sft', 'rl'), ('report', 'capacity'), ('testing',))
RANK = {name: rank for rank, row in enumerate(ROWS) for name in row}
FILES = sorted(ROOT.rglob('*.py'))
# With the folder that their relative imports start from.
CODE = [(path, folder) for folder in (ROOT, REPO / 'scripts', REPO / 'configs')
        for path in sorted(folder.rglob('*.py'))]
# Import names that differ from the package's name by more than a hyphen.
IMPORT_NAMES = {'absl-py': 'absl', 'orbax-checkpoint': 'orbax',
                'protobuf': 'google'}


@dataclasses.dataclass(frozen=True)
class Import:
  """One imported name.

  Attributes:
    name: full dotted name, of a module or of a name in one.
    line: its number, from 1.
    in_function: it runs when a function is called.
    hidden: a call of `import_module` with a path into agentrl.
  """

  name: str
  line: int
  in_function: bool
  hidden: bool = False


def imports(path: pathlib.Path, root: pathlib.Path = ROOT) -> list[Import]:
  """Reads every import of a file, wherever it stands."""
  tree = ast.parse(path.read_text())
  inner = {id(node) for function in ast.walk(tree)
           if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
           for node in ast.walk(function)}
  package = path.relative_to(root.parent).parts[:-1]
  return [Import(name, node.lineno, id(node) in inner,
                 isinstance(node, ast.Call))
          for node in ast.walk(tree) for name in _names(node, package)]


def _names(node: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
  """Yields the full names that one node imports."""
  if isinstance(node, ast.Import):
    yield from (alias.name for alias in node.names)
  elif isinstance(node, ast.ImportFrom):
    above = package[:len(package) + 1 - node.level] if node.level else ()
    parent = '.'.join((*above, *filter(None, [node.module])))
    yield from (f'{parent}.{alias.name}' for alias in node.names)
  elif isinstance(node, ast.Call) and node.args and ast.unparse(
      node.func).rpartition('.')[2] in ('import_module', '__import__'):
    path = node.args[0]
    if isinstance(path, ast.JoinedStr):
      path = path.values[0]
    if isinstance(path, ast.Constant) and re.match(r'agentrl\b', path.value):
      yield path.value


def modules(root: pathlib.Path = ROOT) -> dict[str, pathlib.Path]:
  """Maps the dotted name of each module below a folder to its file."""
  names = {}
  for path in sorted(root.rglob('*.py')):
    parts = path.relative_to(root.parent).with_suffix('').parts
    names['.'.join(parts).removesuffix('.__init__')] = path
  return names


def graph(root: pathlib.Path = ROOT) -> dict[str, set[str]]:
  """Maps each module to the modules of the same root that it imports."""
  files, edges = modules(root), {}
  for module, path in files.items():
    names = [item.name for item in imports(path, root)]
    # A name that is no module is a name in one.
    targets = {name if name in files else name.rpartition('.')[0]
               for name in names}
    edges[module] = targets & set(files)
  return edges


def circle(edges: Mapping[str, set[str]]) -> list[str]:
  """Returns modules that import each other in a circle, [] if none do."""
  done: set[str] = set()

  def search(name: str, path: list[str]) -> list[str]:
    if name in path:
      return path[path.index(name):] + [name]
    if name in done:
      return []
    for target in sorted(edges[name]):
      if closed := search(target, path + [name]):
        return closed
    done.add(name)
    return []

  return next(filter(None, (search(name, []) for name in sorted(edges))), [])


def part_of(path: pathlib.Path, root: pathlib.Path = ROOT) -> str:
  return path.relative_to(root).parts[0].removesuffix('.py')


def pointing_up(path: pathlib.Path, root: pathlib.Path = ROOT) -> list[str]:
  """Returns the parts of agentrl that a file imports and must not."""
  own = part_of(path, root)
  others = {item.name.split('.')[1] for item in imports(path, root)
            if item.name.startswith('agentrl.')}
  return sorted(other for other in others if other in RANK and other != own
                and RANK[other] >= RANK.get(own, -1))


def installed_always() -> set[str]:
  """Returns the import names of the packages of `install_requires`."""
  call = next(node for node in ast.walk(ast.parse(
      (REPO / 'setup.py').read_text())) if isinstance(node, ast.keyword)
              and node.arg == 'install_requires')
  packages = [re.match(r'[\w-]+', text).group()
              for text in ast.literal_eval(call.value)]
  return {IMPORT_NAMES.get(p, p.replace('-', '_')) for p in packages}


def late_imports(path: pathlib.Path, root: pathlib.Path = ROOT) -> list[str]:
  """Returns an offence of each import that must stand at the top."""
  lines, offences = [''] + path.read_text().splitlines(), []
  needless = installed_always() | set(sys.stdlib_module_names) | {'agentrl'}
  for item in imports(path, root):
    place = f'{path.name}:{item.line}: {item.name}'
    if item.hidden:
      offences.append(f'{place} is imported by a text: import it by name')
    elif item.in_function and item.name.split('.')[0] in needless:
      offences.append(f'{place} is no optional extra: import it at the top')
    elif item.in_function and not _has_reason(lines, item.line):
      offences.append(f'{place} is imported late: give the reason beside it')
  return offences


def _has_reason(lines: list[str], number: int) -> bool:
  """Tells if a comment stands beside or right above a line."""
  comment = lines[number].partition('#')[2].strip()
  return (bool(comment) and not re.match('(pylint|noqa)', comment)
          or lines[number - 1].strip().startswith('#'))


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
  assert not pointing_up(path)


def test_every_part_has_a_row():
  assert {part_of(path) for path in FILES} - {'__init__'} == set(RANK)


def test_no_files_import_each_other_in_a_circle():
  assert not circle(graph())


@pytest.mark.parametrize(
    'path,root', CODE, ids=[str(p.relative_to(REPO)) for p, _ in CODE])
def test_functions_import_optional_extras_alone(path, root):
  assert not late_imports(path, root)


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_keep_to_their_budget(path):
  assert len(path.read_text().splitlines()) <= 400


@pytest.fixture
def write(tmp_path):
  """Writes files of a made-up agentrl, and returns its folder."""
  def write_files(texts):
    root = tmp_path / 'agentrl'
    for name, text in texts.items():
      path = root / f'{name}.py'
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(text)
    return root
  return write_files


@pytest.mark.parametrize('text', [
    'from agentrl import rl\n',
    'from agentrl.rl import losses\n',
    'import agentrl.rl.losses\n',
    'from ..rl import losses\n',
    'def f():\n  from agentrl.rl.losses import loss\n',
    'class C:\n  from agentrl.rl import losses\n',
    'if TYPE_CHECKING:\n  from agentrl.rl import losses\n',
    'f = lambda: importlib.import_module("agentrl.rl.losses")\n'])
def test_the_check_sees_an_import_that_points_up(write, text):
  root = write({'envs/bad': text})
  assert pointing_up(root / 'envs' / 'bad.py', root) == ['rl']


def test_the_check_sees_an_import_of_the_own_row(write):
  root = write({'envs/bad': 'from agentrl.llm import llm\n',
                'envs/good': 'from agentrl import types\n'})
  assert pointing_up(root / 'envs' / 'bad.py', root) == ['llm']
  assert not pointing_up(root / 'envs' / 'good.py', root)


@pytest.mark.parametrize('back', [
    'from agentrl.envs import a\n',
    'from agentrl.envs.a import f\n',
    'import agentrl.envs.a as a_lib\n',
    'from . import a\n',
    'from .a import f\n',
    'def f():\n  from agentrl.envs import a\n',
    'def f():\n  return importlib.import_module("agentrl.envs.a")\n'])
def test_the_check_sees_a_circle(write, back):
  root = write({'envs/a': 'from agentrl.envs import b\n',
                'envs/b': 'from agentrl.envs import c\n', 'envs/c': back})
  assert circle(graph(root)) == [
      'agentrl.envs.a', 'agentrl.envs.b', 'agentrl.envs.c', 'agentrl.envs.a']
  (root / 'envs' / 'c.py').write_text('from agentrl import types\n')
  assert not circle(graph(root))


def test_the_check_sees_a_circle_through_a_package(write):
  root = write({'envs/__init__': 'from agentrl.envs import a\n',
                'envs/a': 'from agentrl.envs import NAME\n'})
  assert circle(graph(root)) == ['agentrl.envs', 'agentrl.envs.a',
                                 'agentrl.envs']


@pytest.mark.parametrize('text,offence', [
    ('def f():\n  # Slow.\n  from agentrl import types\n', 'at the top'),
    ('def f():\n  import numpy  # slow\n', 'at the top'),
    ('def f():\n  def g():\n    import json  # slow\n', 'at the top'),
    ('async def f():\n  from orbax import checkpoint  # slow\n', 'at the top'),
    ('def f():\n  from jax.experimental import topologies  # extra\n',
     'at the top'),
    ('def f():\n  import openai\n', 'the reason'),
    ('def f():\n  import openai  # pylint: disable=g-import-not-at-top\n',
     'the reason'),
    ('def f(d):\n  import_module(f"agentrl.envs.{d}")\n', 'by name'),
    ('import_module("agentrl.envs.a")\n', 'by name')])
def test_the_check_sees_a_late_import(write, text, offence):
  root = write({'bad': text})
  complaint, = late_imports(root / 'bad.py', root)
  assert offence in complaint


@pytest.mark.parametrize('text', [
    'import numpy\n',
    'def f():\n  import openai  # an extra\n',
    'def f():\n  # An extra.\n  import openai\n',
    'def f(path):\n  return import_module(f"{path}.tools")\n'])
def test_other_imports_are_no_offence(write, text):
  root = write({'good': text})
  assert not late_imports(root / 'good.py', root)
