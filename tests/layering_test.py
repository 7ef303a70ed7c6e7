"""Imports point down, folders of one row do not import each other, and files
keep to their budget."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent / 'agentrl'
ROWS = (
    ('types', 'jsons', 'resolve', 'shapes', 'files', 'seeds'), ('metrics',),
    ('tokenizer', 'models', 'checkpoint', 'llm', 'envs'), ('sharding',),
    ('train', 'stage'), ('data',), ('rollout',), ('eigendata', 'eval'),
    ('sft', 'rl'), ('report', 'capacity'), ('testing',))
RANK = {name: rank for rank, row in enumerate(ROWS) for name in row}
FILES = sorted(p for p in ROOT.rglob('*.py') if p.name != '__init__.py')


def part_of(path):
  return path.relative_to(ROOT).parts[0].removesuffix('.py')


def imported(path):
  """Top-level parts of agentrl that a file imports."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.ImportFrom) and node.module:
      names = ([node.module.split('.')[1]] if node.module.startswith('agentrl.')
               else [a.name for a in node.names]
               if node.module == 'agentrl' else [])
      yield from names


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
  own = part_of(path)
  for other in imported(path):
    assert other == own or RANK[other] < RANK[own], (
        f'{own} must not import {other}')


def test_the_check_sees_an_import_that_points_up(tmp_path):
  bad = tmp_path / 'bad.py'
  bad.write_text('from agentrl import runs\nfrom agentrl.rl import losses\n')
  assert list(imported(bad)) == ['runs', 'rl']


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_keep_to_their_budget(path):
  assert len(path.read_text().splitlines()) <= 400
