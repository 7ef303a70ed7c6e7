"""Draws plots as inline SVG with the fonts and colours of the page.

Plots are small, to be readable on a phone and a desk: the page puts as many
side by side as fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import io
import re
from typing import Any

import markupsafe
import matplotlib
import matplotlib.figure
import matplotlib.ticker
import numpy as np

# Placeholders for CSS variables of the page, which has a dark and a light mode.
INK, SOFT, GRID = '#010101', '#020202', '#030303'
BEFORE, AFTER, FLOOR = '#040404', '#050505', '#060606'
_VARIABLES = {INK: 'ink', SOFT: 'soft', GRID: 'grid', BEFORE: 'before',
              AFTER: 'after', FLOOR: 'floor'}
_STYLE = {
    'svg.fonttype': 'none', 'svg.hashsalt': 'agentrl',
    'font.size': 11, 'text.color': INK, 'axes.edgecolor': GRID,
    'axes.labelcolor': SOFT, 'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True, 'axes.grid.axis': 'y', 'axes.axisbelow': True,
    'grid.color': GRID, 'grid.linewidth': 0.8, 'xtick.color': SOFT,
    'ytick.color': SOFT, 'xtick.major.size': 0, 'ytick.major.size': 0,
    'legend.frameon': False, 'legend.labelcolor': SOFT,
    'legend.fontsize': 11, 'lines.solid_capstyle': 'round',
}
_SMOOTH = 30  # points from which on a line is drawn with its running mean


@contextlib.contextmanager
def _canvas(width: int, height: int) -> Iterator[Any]:
  """Yields (figure, axes) of a size in points; one is a pixel of the page."""
  with matplotlib.rc_context(_STYLE):
    figure = matplotlib.figure.Figure(
        figsize=(width / 72, height / 72), layout='constrained')
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    yield figure, axes


def _svg(figure: matplotlib.figure.Figure, label: str) -> markupsafe.Markup:
  """Returns the figure as inline SVG; `label` is read by screen readers."""
  with matplotlib.rc_context(_STYLE):
    file = io.StringIO()
    figure.savefig(file, format='svg', metadata={'Date': None})
  svg = file.getvalue()
  svg = svg[svg.index('<svg'):]
  used = set(re.findall(r'(?:url\(|href=")#([^")]+)', svg))
  for pattern, put in (
      (r'<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>', ''),
      (r' id="([^"]+)"', lambda m: m[0] if m[1] in used else ''),
      (r' transform="rotate\(-0 [^"]*"', ''),
      (r'font-family: [^;"]*;? ?', ''),
      (r' d="[^"]*"', lambda m: re.sub(r'(\.\d\d)\d+', r'\1', m[0])),
      (r'^<svg[^>]* viewBox=("[^"]+")[^>]*>',
       rf'<svg role="img" aria-label="{markupsafe.escape(label)}" '
       r'viewBox=\1 xmlns:xlink="http://www.w3.org/1999/xlink">'),
      (r'\s*\n\s*', ' '), (r'<g>\s*</g>|<g/>|<defs>\s*</defs>', '')):
    svg = re.sub(pattern, put, svg, flags=re.S)
  for color, name in _VARIABLES.items():
    svg = svg.replace(color, f'var(--{name})')
  return markupsafe.Markup(svg)


def _percent(axis: matplotlib.axis.Axis) -> None:
  axis.set_major_formatter(matplotlib.ticker.PercentFormatter(1))


def curves(title: str, series: Mapping[str, tuple[Sequence[int],
                                                   Sequence[float]]], *,
           percent: bool = False, over: str = 'step') -> markupsafe.Markup:
  """Draws lines over steps.

  Args:
    title: read by screen readers; the page shows its own.
    series: legend -> (steps, values); at most three.
    percent: values are shares.
    over: label of the other axis.
  """
  with _canvas(340, 190) as (figure, axes):
    for color, (name, (steps, values)) in zip((AFTER, FLOOR, BEFORE),
                                              series.items()):
      mean = _smooth(np.asarray(values, np.float64))
      axes.plot(steps, mean, color=color, linewidth=2, label=name)
      if len(values) >= _SMOOTH:
        axes.plot(steps, values, color=color, linewidth=0.8, alpha=0.3)
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, integer=True))
    if not percent and _spans(series):
      axes.set_yscale('log')
      axes.yaxis.set_major_formatter('{x:g}')
      axes.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    else:
      axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
    axes.set_xlabel(over, loc='right')
    if percent:
      _percent(axes.yaxis)
      axes.set_ylim(bottom=0)
    if len(series) > 1:
      axes.legend(loc='best')
    return _svg(figure, title)


def _spans(series: Mapping[str, tuple[Sequence[int], Sequence[float]]]) -> bool:
  """Returns whether most values would look like 0 on a linear axis."""
  values = np.concatenate([values for _, values in series.values()])
  values = values[np.isfinite(values)]
  return values.size > 0 and 0 < 20 * values.min() < values.max()


def _smooth(values: np.ndarray) -> np.ndarray:
  """Returns the mean over a Gaussian window, a fiftieth of the line wide.

  NaN values are left out; short lines are returned as they are.

  Args:
    values: float64 [T].
  """
  if len(values) < _SMOOTH:
    return values
  width = len(values) / 50
  reach = np.arange(-int(3 * width), int(3 * width) + 1)
  window = np.exp(-0.5 * (reach / width) ** 2)
  known = np.isfinite(values)
  total = np.convolve(np.where(known, values, 0), window, 'same')
  return total / np.convolve(known, window, 'same')


Run = tuple[str, Mapping[str, Any]]  # label, metrics.json


def reliability(runs: Sequence[Run]) -> markupsafe.Markup:
  """Draws pass^1 ... pass^K as bars with intervals, and the best floor.

  Args:
    runs: one or two runs on the same tasks, the earlier first.
  """
  latest = runs[-1][1]
  ks = np.arange(1, latest['num_trials'] + 1)
  with _canvas(470, 320) as (figure, axes):
    width = 0.8 / len(runs)
    for i, (color, (label, metrics)) in enumerate(
        zip((BEFORE, AFTER)[-len(runs):], runs)):
      value, error = _bars(metrics, ks)
      x_K = ks + (i - (len(runs) - 1) / 2) * width
      axes.bar(x_K, value, width * 0.92, color=color, label=label)
      axes.errorbar(x_K, value, error, fmt='none', color=INK, ecolor=INK,
                    elinewidth=1.2, capsize=3)
      for x, y, up in zip(x_K, value, error[1]):
        if np.isfinite(y):
          axes.text(x, y + up + 0.015, f'{100 * y:.0f}', ha='center',
                    fontsize=10)
    name, floor = max(latest['floors'].items(), key=lambda pair: pair[1])
    axes.axhline(floor, color=FLOOR, linewidth=1.5, linestyle=(0, (4, 3)),
                 label=f'best floor ({name})')
    axes.set_xticks(ks, [f'pass^{k}' for k in ks])
    axes.set_ylim(0, min(1.08, axes.get_ylim()[1] + 0.05))
    _percent(axes.yaxis)
    _legend(axes)
    return _svg(figure, 'pass^k of ' + ' and '.join(r[0] for r in runs))


def _bars(metrics: Mapping[str, Any], ks: Sequence[int]
          ) -> tuple[np.ndarray, np.ndarray]:
  """Returns values and distances to the ends of their intervals.

  Returns:
    value_K, error_2K; NaN where there is no number.
  """
  nan = float('nan')
  value = np.array([_or(metrics[f'pass^{k}'], nan) for k in ks])
  ends = np.array([_or(metrics[f'pass^{k}_interval'], [nan, nan]) for k in ks])
  return value, np.abs(ends - value[:, None]).T


def _or(value: Any, other: Any) -> Any:
  return other if value is None else value


def breakdown(runs: Sequence[Run]) -> markupsafe.Markup:
  """Draws pass^1 of each group of tasks with intervals, and its best floor.

  Args:
    runs: see `reliability`.
  """
  by = runs[-1][1]['by']
  rows, y = [], []
  for group, parts in by.items():
    rows += [(group, value) for value in parts]
    y += [(y[-1] - 1.5 if y else 0) - i for i in range(len(parts))]
  y = np.array(y)
  with _canvas(440, int(80 + 26 * -y.min())) as (figure, axes):
    for i, (color, (label, metrics)) in enumerate(
        zip((BEFORE, AFTER)[-len(runs):], runs)):
      bars = [_bars(metrics['by'][group][value], [1]) for group, value in rows]
      x = np.concatenate([value for value, _ in bars])
      error = np.concatenate([error for _, error in bars], axis=1)
      shift = 0.14 * (len(runs) - 1) * (1 - 2 * i)
      axes.errorbar(x, y + shift, xerr=error, fmt='o', color=color,
                    markersize=6, elinewidth=2, capsize=0, label=label)
    floor = [max(by[group][value]['floors'].values()) for group, value in rows]
    axes.scatter(floor, y, marker='|', s=160, color=FLOOR, linewidths=2,
                 label='best floor')
    axes.set_yticks(y, [_row(by, *row) for row in rows], color=INK)
    axes.set_ylim(y.min() - 0.6, 0.6)
    axes.set_xlim(-0.02, 1.02)
    axes.grid(axis='x')
    axes.grid(visible=False, axis='y')
    axes.spines['left'].set_visible(False)
    _percent(axes.xaxis)
    _legend(axes)
    return _svg(figure, 'pass^1 by group of tasks')


def _legend(axes: matplotlib.axes.Axes) -> None:
  """Draws the legend below the axes, runs first."""
  pairs = sorted(zip(*axes.get_legend_handles_labels()),
                 key=lambda pair: 'floor' in pair[1])
  axes.figure.legend(*zip(*pairs), loc='outside lower center', ncols=3)


def _row(by: Mapping[str, Any], group: str, value: str) -> str:
  label = value
  if group == 'demands':
    label += ' demand' if value == '1' else ' demands'
  return f'{label} ({by[group][value]["num_tasks"]})'
