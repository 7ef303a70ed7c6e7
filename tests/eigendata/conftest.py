"""A lamp shop, and ways to make samples of it without mistakes.

Not called `lamps`, as the domain of docs/domains.md: one process imports both.
"""

import json
import pathlib

import pytest

from agentrl.eigendata import prompts
from agentrl.eigendata import run
from agentrl.eigendata import sample as sample_lib
from agentrl.llm.stand_in import procedural

ROLES = procedural.MISTAKEN
ACCOUNT = {'prices': [], 'dollars': None, 'tokens': None, 'cache': '',
           'evolve_share': 0.5}


@pytest.fixture
def config(monkeypatch):
  """`config(**fields)`: JSON of a config on the shop, free of mistakes."""
  folder = pathlib.Path(__file__).parent
  for path in (folder, folder / 'write'):  # the shop; an LLM of a test
    monkeypatch.syspath_prepend(path)
  def make(**fields):
    wrong = fields.pop('mistakes', {})
    account = ACCOUNT | fields.pop('llm_account', {})
    return json.dumps({
        'seed': 0, 'databases': 2, 'domains': ['lamp_shop'],
        'env': {'prompt': 'brief'},
        'num_train': 12, 'num_test': 4, 'demands_train': [0.5, 0.5],
        'demands_test': [0, 1], 'other_share': 0.3, 'max_tries': 6,
        'plan_pairs': 64, 'feedback': '', 'if_short': 'error',
        'drop_flagged': False, 'validate': True,
        'monitor': {'window': 40, 'floor': 0.5},
        'evolve': {'rounds': 0, 'pilot': 4, 'audit': 8, 'patience': 2,
                   'target': 0.95},
        'runner': 'agentrl.eigendata.scale.runners:processes', 'runner_kw': {},
        'workers': 1, 'shard_size': 3, 'llm_roles': {}, 'llm_account': account,
        'llm': 'agentrl.llm.stand_in.procedural:Procedural',
        'llm_kw': {'mistakes': {r: wrong.get(r, 0.0) for r in ROLES}},
        **fields})
  return make


@pytest.fixture
def maker(config):
  return sample_lib.maker(config())


@pytest.fixture
def author(maker):
  return prompts.Author(maker.llm, prompts.load())


@pytest.fixture
def streams(config):
  """`streams(maker, split)`: as a run of the config starts with them."""
  fields = json.loads(config())
  return lambda maker, split='train': run.plan(
      maker, fields[f'demands_{split}'], fields['plan_pairs'], split, {})
