"""Writes the report: one HTML file about the results of a chain of stages."""

from __future__ import annotations

from collections.abc import Mapping
import json
import os
import pathlib
from typing import Any

import jinja2
import markupsafe

from agentrl import files
from agentrl import jsons
from agentrl import metrics
from agentrl import types
from agentrl.eval import results
from agentrl.report import data as data_lib
from agentrl.report import plots
from agentrl.report import summary as summary_lib
from agentrl.report import text
from agentrl.report import viewer
from agentrl.stage import inputs
from agentrl.tokenizer import vocab as vocab_lib

CURVES = {
    'user_sft': 'User model, SFT', 'agent_sft': 'Agent, SFT',
    'grpo': 'Agent, GRPO'}
# Title -> (metric -> legend, values are shares). Missing metrics are skipped.
PANELS: dict[str, tuple[dict[str, str], bool]] = {
    'Mean reward': ({'train/reward_mean': 'reward'}, True),
    'Groups without a signal': ({
        'train/dead_all_fail_share': 'all fail',
        'train/dead_all_pass_share': 'all pass',
        'train/dead_too_few_share': 'too few count'}, True),
    'Faults': ({'train/outcome_user_fault_share': 'user',
                'train/outcome_agent_limit_share': 'limit reached',
                'train/outcome_infra_share': 'infrastructure'}, True),
    'Loss': ({'train/loss': 'loss'}, False),
    'Entropy [nats/token]': ({'train/entropy_nats': 'entropy'}, False),
    'KL from the sampler [nats/token]': ({'train/kl_old_nats': 'KL'}, False),
    'Clipped tokens': ({'train/clip_share': 'clipped'}, True),
    'Gradient norm': ({'train/grad_norm': 'norm'}, False),
    'Steps of a dialogue': ({'train/steps_mean': 'steps'}, False),
    'Gap of trainer and sampler [nats]': (
        {'train/logp_gap_mean': 'mean'}, False),
    'Seconds of a step': ({'time/rollout_s': 'rollout',
                           'time/update_s': 'update'}, False),
    'Sampled tokens a second': ({'time/agent_tokens_per_s': 'agent'}, False),
}


def write(workdir: str | os.PathLike) -> pathlib.Path:
  """Writes `report.html` and `summary.json` into a workdir.

  Args:
    workdir: holds the folders of the stages, `summary.STAGES`; unfinished ones
      are shown as missing.

  Returns:
    path of the report.

  Raises:
    ValueError: no stage has finished, or a file of one is broken.
  """
  workdir = pathlib.Path(workdir)
  if not summary_lib.finished(workdir):
    raise ValueError(f'{workdir} holds no finished stage '
                     f'({", ".join(summary_lib.STAGES)}): give the folder '
                     'that they lie in.')
  path = workdir / 'report.html'
  files.write_text(path, render(workdir, summary_lib.write(workdir)))
  return path


def render(workdir: pathlib.Path, summary: Mapping[str, Any]) -> str:
  """Renders the report of a workdir."""
  evaluations = summary_lib.evaluations(workdir)
  runs = [(text.LABELS[name], figures) for name, figures in evaluations.items()]
  tasks = _tasks(workdir)
  return template('report.html.j2').render(
      name=workdir.resolve().name, summary=summary, runs=runs,
      headline=text.headline(summary), sentences=text.sentences(summary),
      ks=[key for key in runs[0][1] if key.startswith('pass^')
          and not key.endswith('_interval')] if runs else [],
      outcomes=[o.value for o in types.Outcome
                if any(values['outcomes'][o] for _, values in runs)],
      plots={'reliability': plots.reliability(runs),
             'breakdown': plots.breakdown(runs)} if runs else {},
      data=data_lib.read(workdir / 'data'),
      curves=[(stage, title, _curves(workdir / stage))
              for stage, title in CURVES.items()],
      cases=_cases(workdir, tasks))


def template(name: str) -> jinja2.Template:
  """Loads a template of this folder, with the functions that templates use."""
  environment = jinja2.Environment(
      loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
      autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
      lstrip_blocks=True)
  environment.globals |= dict(
      text=text, funnel=data_lib.funnel, outcome_class=outcome_class,
      nothing_kept=data_lib.nothing_kept, data_headline=data_lib.headline)
  return environment.get_template(name)


def write_data(folder: str | os.PathLike) -> pathlib.Path:
  """Writes `report.html` of a data stage into its folder; returns its path.

  Raises:
    ValueError: the stage has not finished.
  """
  folder = pathlib.Path(folder)
  facts = inputs.manifest(folder)
  path = folder / 'report.html'
  files.write_text(path, template('data_page.html.j2').render(
      name=folder.resolve().name, facts=facts, data=data_lib.read(folder)))
  return path


def _tasks(workdir: pathlib.Path) -> dict[str, types.Task]:
  """Reads the held-out tasks by name."""
  path = workdir / 'data' / 'tasks_test.jsonl'
  if not path.exists():
    return {}
  tasks = (jsons.from_json(types.Task, json.loads(line))
           for line in path.read_text().splitlines())
  return {results.task_name(task.domain, task.id): task for task in tasks}


def _cases(workdir: pathlib.Path,
           tasks: Mapping[str, types.Task]) -> list[viewer.Case]:
  stages = summary_lib.finished(workdir)
  runs = {}
  for name, stage in summary_lib.EVALUATIONS.items():
    if stage in stages:
      episodes = runs.setdefault(text.LABELS[name], {})
      for task, episode in results.read_transcripts(workdir / stage):
        episodes.setdefault(task, []).append(episode)
  if not (runs and tasks):
    return []
  return viewer.choose(tasks, runs, piece=_piece(workdir / 'agent_sft'))


def _piece(folder: pathlib.Path) -> viewer.Piece:
  """Returns a function from id to text; without vocabulary, to the id."""
  path = folder / 'vocab.model'
  return vocab_lib.load(path).piece if path.exists() else '[{}]'.format


def _curves(folder: pathlib.Path) -> list[tuple[str, markupsafe.Markup]]:
  """Returns (title, plot) of each panel for which the stage has metrics."""
  rows = metrics.read(folder)
  panels = []
  for title, (names, percent_) in PANELS.items():
    series = {}
    for name, legend in names.items():
      pairs = [(row['step'], row[name]) for row in rows
               if row.get(name) is not None]
      if pairs and (len(names) == 1 or any(value for _, value in pairs)):
        series[legend] = tuple(zip(*pairs))
    if series:
      panels.append((title, plots.curves(title, series, percent=percent_)))
  return panels


def outcome_class(outcome: types.Outcome) -> str:
  return {types.Outcome.SUCCESS: 'yes',
          types.Outcome.USER_FAULT: 'fault'}.get(outcome, 'no')
