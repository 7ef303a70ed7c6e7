"""A lamp shop, and ways to make samples of it without mistakes.

Not called `lamps`, as the domain of README.md: one process imports both.
"""

import json
import pathlib

import pytest

from agentrl.eigendata import sample as sample_lib
from agentrl.llm import procedural

ROLES = tuple(procedural.ROLES)


@pytest.fixture
def config(monkeypatch):
  """`config(**fields)`: JSON of a config on the shop, free of mistakes."""
  monkeypatch.syspath_prepend(pathlib.Path(__file__).parent)
  def make(**fields):
    wrong = fields.pop('mistakes', {})
    return json.dumps({
        'seed': 0, 'databases': 2, 'domains': ['lamp_shop'],
        'env': {'prompt': 'brief'},
        'num_train': 12, 'num_test': 4, 'demands_train': [0.5, 0.5],
        'demands_test': [0, 1], 'other_share': 0.3, 'max_tries': 6,
        'processes': 1, 'drop_flagged': False,
        'llm': 'agentrl.llm.procedural:Procedural',
        'llm_kw': {'mistakes': {r: wrong.get(r, 0.0) for r in ROLES}},
        **fields})
  return make


@pytest.fixture
def maker(config):
  return sample_lib.maker(config())
