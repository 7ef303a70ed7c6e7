"""A lamp shop, and ways to make samples of it without mistakes.

Not called `lamps`, as the domain of docs/domains.md: one process imports both.
"""

import pathlib

import pytest

from agentrl.eigendata import config as config_lib
from agentrl.eigendata import context as context_lib
from agentrl.eigendata import prompts
from agentrl.eigendata import run
from agentrl.eigendata import source as source_lib
from agentrl.eigendata.write import checker
from agentrl.eigendata.write import validate
from agentrl.llm.stand_in import procedural

ROLES = procedural.MISTAKEN
ACCOUNT = {'prices': [], 'dollars': None, 'tokens': None, 'cache': '',
           'evolve_share': 0.5}


@pytest.fixture
def config(monkeypatch):
  """`config(**fields)`: fields of a config on the shop, free of mistakes."""
  folder = pathlib.Path(__file__).parent
  for path in (folder, folder / 'write'):  # the shop; an LLM of a test
    monkeypatch.syspath_prepend(path)
  def make(**fields):
    wrong = fields.pop('mistakes', {})
    return {
        'seed': 0, 'databases': 2, 'domains': ['lamp_shop'],
        'env': {'prompt': 'brief'},
        'num_train': 12, 'num_test': 4, 'demands_train': [0.5, 0.5],
        'demands_test': [0, 1], 'other_share': 0.3, 'max_tries': 6,
        'plan_pairs': 64, 'feedback': '', 'if_short': 'error',
        'drop_flagged': False, 'validate': True,
        'monitor': {'window': 40, 'floor': 0.5},
        'evolve': {'rounds': 0, 'pilot': 4, 'audit': 8, 'patience': 2,
                   'target': 0.95, **fields.pop('evolve', {})},
        'runner': 'agentrl.eigendata.scale.runners:processes', 'runner_kw': {},
        'workers': 1, 'shard_size': 3, 'llm_roles': {}, 'llm_account': {
            'prices': [], 'dollars': None, 'tokens': None, 'cache': '',
            'evolve_share': 0.5, **fields.pop('llm_account', {})},
        'llm': 'agentrl.llm.stand_in.procedural:Procedural',
        'llm_kw': {'mistakes': {r: wrong.get(r, 0.0) for r in ROLES}},
        **fields}
  return make


@pytest.fixture
def make_context(config):
  """`make_context(**fields)`: the context of such a config."""
  return lambda **fields: context_lib.make(config_lib.read(config(**fields)))


@pytest.fixture
def context(make_context):
  return make_context()


@pytest.fixture
def writer(context):
  return prompts.Writer(context.llm, prompts.load())


@pytest.fixture
def intended():
  """`intended(source, writer, draw)`: intent and task of a draw, with no
  checker yet."""
  def make(source, writer, draw):
    draw, intent = source.intent(
        writer, draw, source_lib.Attempt(lambda *names: 0))
    return intent, validate.validate_task(source, draw, intent, name='t',
                                          seed=0)
  return make


@pytest.fixture
def checked(intended):
  """`checked(source, writer, draw)`: intent and task of a draw."""
  def make(source, writer, draw):
    intent, task = intended(source, writer, draw)
    return intent, checker.write_checker(writer, source, task, intent,
                                         critique='', seed=0)
  return make


@pytest.fixture
def streams(config):
  """`streams(context, split)`: as a run of the config starts with them."""
  fields = config()
  return lambda context, split='train': run.plan(
      context, fields[f'demands_{split}'], fields['plan_pairs'], split, {})
