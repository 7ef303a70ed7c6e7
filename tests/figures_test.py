"""Every measured figure that README.md and docs/ show stands in a file of
benchmarks/results.

A block of a document (a paragraph, a list or a table) with measured figures
comes right after a comment `<!-- figures: a.json b.json -->`, and each number
in it is one of these files, rounded as it is shown. The rows of the main tables
are made from the files here, cell by cell.
"""

from __future__ import annotations

from collections.abc import Iterator
import importlib
import json
import math
import pathlib
import re

import pytest

from agentrl.envs import outcomes

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / 'benchmarks/results'
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
# What each file says of its origin; the rest are figures.
ORIGIN = {'title', 'measured', 'commit', 'command', 'seed', 'machine',
          'versions'}
NO_FIGURES = ORIGIN | {'from', 'note', 'measurement', 'package', 'cpus',
                       'device'}
MARK = re.compile(r'<!-- figures: ([\w. ]+) -->')
NUMBER = re.compile(r'(?<![\w.^:=-])[-+]?\d[\d,]*(?:\.\d+)?(?![\w^]|\.\d)')
MEASURED = re.compile(
    r'\d\s?(?:%|points|ms|s|min|[KMG]i?B|tokens/s|GFLOP/s|M parameters)(?!\w)')
# `code`, the address of a link, and the name of the interval.
NOT_MEASURED = re.compile(r'`[^`]*`|\]\([^)]*\)|95 %')


def read(name):
  return json.loads((RESULTS / name).read_text())


def figures(results) -> dict:
  """A results file without the fields that say where it is from."""
  return {k: v for k, v in results.items() if k not in NO_FIGURES}


def numbers(value) -> Iterator[float]:
  """Yields every number in the fields of a results file."""
  if isinstance(value, dict):
    for name, inner in value.items():
      yield from numbers(name)
      yield from numbers(inner)
  elif isinstance(value, str):  # such as '32 rows', in a row's name
    yield from (float(n.replace(',', '')) for n in NUMBER.findall(value))
  elif isinstance(value, list):
    for inner in value:
      yield from numbers(inner)
  elif isinstance(value, (int, float)) and not isinstance(value, bool):
    yield value


def derived(results) -> Iterator[float]:
  """Ratios of figures, which the text may round to two digits."""
  for domain in ('telecom', 'airline', 'retail'):
    if 'package' in results and domain in results:
      ours, package = results[domain]['ours'], results[domain]['package']
      ratio = ours['episodes_per_s'] / package['episodes_per_s']
      yield round(ratio, 1 - math.floor(math.log10(ratio)))


def shown(text: str) -> list[str]:
  """The numbers that a block shows."""
  return [n.replace(',', '') for n in
          NUMBER.findall(NOT_MEASURED.sub(' ', text))]


def is_one_of(text: str, known: list[float]) -> bool:
  """Whether a number as it is shown is one of `known`, which may be shares."""
  digits = len(text.partition('.')[2])
  value = float(text)
  return any(
      round(x * scale, digits) in (value, abs(value)) or
      round(-x * scale, digits) == value
      for x in known for scale in (1, 100) if scale == 1 or abs(x) <= 1)


def blocks(text: str) -> Iterator[tuple[list[str], str]]:
  """Yields (its results files, block) of a document, code left out."""
  text = re.sub(r'^```.*?^```$', '', text, flags=re.S | re.M)
  text = re.sub(r'^    \S.*(?:\n    .*)*$', '', text, flags=re.M)
  files: list[str] = []
  for block in re.split(r'\n\s*\n', text):
    if mark := MARK.fullmatch(block.strip()):
      files = mark[1].split()
    elif block.strip():
      yield files, block
      files = []


def offences(text: str) -> list[str]:
  """What is wrong with the figures of a document."""
  wrong = []
  for files, block in blocks(text):
    if not files:
      wrong += [f'no results file for {m[0]!r} in: {block[:200]}' for m in
                MEASURED.finditer(NOT_MEASURED.sub(' ', block))]
      continue
    results = list(map(read, files))
    known = [x for r in results for x in (*numbers(figures(r)), *derived(r),
                                          *seeds(r))]
    wrong += [f'{n} is not in {files}: {block[:200]}' for n in shown(block)
              if not is_one_of(n, known)]
  return wrong


def seeds(results) -> list[int]:
  seed = results['seed']
  return seed if isinstance(seed, list) else [seed]


@pytest.mark.parametrize('path', PAGES, ids=lambda p: p.name)
def test_every_figure_is_in_a_results_file(path):
  assert not (wrong := offences(path.read_text())), '\n\n'.join(wrong)


@pytest.mark.parametrize('text, wrong', [
    ('It takes 3 min.', 1), ('`3 min` and 95 % intervals, [a](b#3-min).', 0),
    ('    takes 3 min\n', 0), ('```\n3 min\n```', 0),
    ('<!-- figures: ablation.json -->\n\nIt solves 25.5 % with 4 plans.', 0),
    ('<!-- figures: ablation.json -->\n\nIt solves 25.6 % with 4 plans.', 1),
    ('<!-- figures: ablation.json -->\n\nIt solves 25.5 %.\n\nAnd 3 %.', 1),
    ('<!-- figures: tau2_telecom.json -->\n\n-1.2 points (-8.1 to +5.0)', 0),
    ('<!-- figures: tau2_telecom.json -->\n\n-1.3 points (-8.1 to +5.0)', 1),
    ('<!-- figures: env_cpu2.json -->\n\n1,500 times', 0),
    ('<!-- figures: env_cpu2.json -->\n\n1,600 times', 1)])
def test_a_wrong_figure_is_seen(text, wrong):
  assert len(offences(text)) == wrong


@pytest.mark.parametrize('path', sorted(RESULTS.glob('*.json')),
                         ids=lambda p: p.name)
def test_a_results_file_says_where_it_is_from(path):
  results = read(path.name)
  assert not (missing := ORIGIN - {*results}), (
      f'{path.name} lacks {sorted(missing)}: see benchmarks/results/README.md')
  assert re.fullmatch('[0-9a-f]{7,40}|see figures', results['commit'])
  assert list(numbers(figures(results)))
  pages = ''.join(p.read_text() for p in (*PAGES, ROOT / 'LOG.md'))
  assert path.name in pages, f'{path.name} is shown nowhere'


def percent(value):
  return f'{100 * value:.1f} %'


def interval(low, high, sign=''):
  return f'({100 * low:{sign}.1f} to {100 * high:{sign}.1f})'


def quickstart_rows():
  for seed in range(3):
    results = read(f'quickstart_seed{seed}.json')
    run = results['figures']
    assert seeds(results) == [seed]
    before, after = (
        f'{percent(r["pass^1"])} {interval(*r["pass^1_interval"])}'
        for r in (run['sft'], run['grpo']))
    delta = (f'{100 * run["delta"]:+.1f} '
             f'{interval(*run["delta_interval"], sign="+")}')
    worst = ' → '.join(f'{100 * run[name]["pass^4"]:.1f}'
                        for name in ('sft', 'grpo'))
    yield f'| {seed} | {before} | {after} | {delta} | {worst} % |'


def ablation_rows():
  figures = read('ablation.json')['figures']
  names = ('full', 'no_validation', 'no_evolution', 'few_plan_pairs')
  for seed in range(3):
    cells = [f'{percent(r["pass^1"])} {interval(*r["pass^1_interval"])}'
             for r in (figures[name][seed] for name in names)]
    yield f'| {seed} | {" | ".join(cells)} |'
  yield f'| mean | {" | ".join(percent(figures["mean"][n]) for n in names)} |'
  less = [f'{100 * value:+.1f} {interval(low, high, sign="+")}'
          for value, low, high in (figures['full_less'][n] for n in names[1:])]
  yield f'| full less this, paired | | {" | ".join(less)} |'


def cost_rows():
  results = read('env_cpu2.json')
  domains = ('telecom', 'airline', 'retail')
  for label, name in (('environment ready, ms', 'ready_ms'),
                      ('verdict on a dialogue, ms', 'judged_ms'),
                      ('whole scripted dialogues a second', 'episodes_per_s')):
    cells = [f'{plain(results[d]["ours"][name])} '
             f'({plain(results[d]["package"][name])})' for d in domains]
    yield f'| {label} (package) | {" | ".join(cells)} |'


def plain(value):
  digits = 2 if value < 2 else 1 if value < 10 else 0
  return f'{value:,.{digits}f}'


def floor_rows():
  figures = read('tau2_floors.json')['figures']
  tasks, nothing = figures['tasks'], figures['noop']['v0.2.1']
  def cell(solved, domain):
    if not solved:
      return f'0/{tasks[domain][0]}'
    base, train, test = (f'{n}/{all_}' for n, all_ in
                         zip(solved, tasks[domain]))
    return f'{base} ({train}, {test})'
  airline, retail = (cell(nothing[d], d) for d in ('airline', 'retail'))
  yield (f'| doing nothing | {airline} | {retail} | '
         f'{cell(nothing["telecom"], "telecom")} |')
  yield ('| handing over at once | as nothing | as nothing | '
         f'{cell(figures["transfer_telecom"], "telecom")} |')
  gold = figures['gold']['v0.2.1']
  cells = [f'{gold[d]}/{tasks[d][0]}' for d in tasks if d != 'telecom_full']
  yield f'| the gold actions | {" | ".join(cells)} |'


def plan_rows():
  for name, plan in read('plan_v5p.json')['figures'].items():
    if 'GRPO ' in name or 'SFT ' in name:
      low, high = plan['mfu_percent']
      compute = f'{plan["compute_s"]:.{0 if plan["compute_s"] > 99 else 1}f}'
      yield (f'| {name} | {plan["state_gb"]} | {plan["temporary_gb"]} | '
             f'{plan["update_gb"]} | {compute} | {plan["send_s"]} | '
             f'{low}-{high} % | {"yes" if plan["fits"] else "no"} |')


def fitting_rows():
  for change, *values in read('plan_v5p.json')['figures']['sft_235b_steps']:
    yield f'| {change} | {" | ".join(map(str, values))} |'


def outcome_rows():
  for outcome, rule in outcomes.RULES.items():
    assert rule.baseline == rule.gradient
    counts = ('no' if not rule.evaluated else
              'yes, as a success' if outcome == outcome.SUCCESS else
              'yes, as a failure')
    yield f'| `{outcome}` | {counts} | {"yes" if rule.gradient else "no"} |'


@pytest.mark.parametrize('page, rows', [
    ('README.md', quickstart_rows), ('docs/data.md', ablation_rows),
    ('docs/tau2.md', cost_rows), ('docs/tau2.md', floor_rows),
    ('docs/scaling.md', plan_rows), ('docs/scaling.md', fitting_rows),
    ('docs/evaluation.md', outcome_rows)], ids=lambda x: getattr(
        x, '__name__', x))
def test_tables_are_those_of_the_results(page, rows):
  text = (ROOT / page).read_text()
  missing = [row for row in rows() if row not in text]
  assert not missing, f'{page} should have\n' + '\n'.join(missing)


def test_benchmarks_write_their_origin(monkeypatch):
  monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
  origin = importlib.import_module('origin')
  facts = origin.facts('A test')
  assert {*facts} >= ORIGIN
  assert facts['command'].startswith('python ') and facts['title'] == 'A test'
