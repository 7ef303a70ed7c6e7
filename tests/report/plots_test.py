"""Plots that live in a page."""

import re

import numpy as np
import pytest

from agentrl import files
from agentrl.report import plots


@pytest.fixture
def evaluation(chain):
  return files.read_json(chain / 'eval_sft' / 'metrics.json')


def _plots(evaluation):
  runs = [('SFT', evaluation), ('GRPO', evaluation)]
  values = [0.1, np.nan, *np.linspace(0, 1, 50)]
  return [
      plots.curves('a <b>', {'x': (range(52), values)}, percent=True),
      plots.curves('two', {'x': ([0], [1.0]), 'y': ([0], [2.0])}),
      plots.reliability(runs), plots.reliability(runs[:1]),
      plots.breakdown(runs), plots.breakdown(runs[:1])]


def test_takes_colours_and_fonts_from_the_page(evaluation):
  for svg in _plots(evaluation):
    assert svg.startswith('<svg role="img" aria-label="')
    assert 'var(--after)' in svg
    assert not re.search(r'#[0-9a-f]{6}', svg)  # no colour of its own
    assert 'font-family' not in svg and '<style' not in svg
    assert 'width=' not in svg.split('>')[0]


def test_ids_are_only_those_that_are_used(evaluation):
  for svg in _plots(evaluation):
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', svg))
    assert used == set(re.findall(r' id="([^"]+)"', svg))


def test_labels_are_escaped_and_equal_input_gives_equal_output(evaluation):
  first, second = _plots(evaluation), _plots(evaluation)
  assert first == second and 'aria-label="a &lt;b&gt;"' in first[0]


def test_a_run_without_a_number_has_no_bar(evaluation):
  evaluation |= {'pass^2': None, 'pass^2_interval': None}
  assert 'nan' not in plots.reliability([('SFT', evaluation)]).lower()
