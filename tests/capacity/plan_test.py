"""A small plan for a slice that is not there."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
SMALL = dict(
    num_layers=2, d_model=256, num_heads=4, num_kv_heads=2, d_ff=256,
    vocab_size=1024, num_experts=8, experts_per_token=2)


def run(config, *more):
  pytest.importorskip('libtpu')
  # In a process of its own: which devices there are is fixed at start.
  return subprocess.run(
      [sys.executable, 'scripts/plan.py', f'--config=configs/{config}', *more],
      cwd=ROOT, env={**os.environ, 'PYTHONPATH': str(ROOT)},
      capture_output=True, text=True, check=False)


def small(**fields):
  return [f'--config.{name}={value}' for name, value in fields.items()]


@pytest.mark.slow
def test_a_plan_of_grpo(tmp_path):
  models = {f'{name}.{field}': value for name in ('model', 'user_model')
            for field, value in SMALL.items()}
  axes = {'data': 1, 'fsdp': 1, 'tensor': 2, 'expert': 2}
  meshes = {f'mesh.{name}': size for name, size in axes.items()}
  engines = {f'sampler_mesh.{name}': size for name, size in
             (axes | {'data': 2, 'expert': 1}).items()}
  sampling = {f'{side}.{name}': value
              for side in ('sampler', 'user_sampler')
              for name, value in (('length', 256), ('slots', 4))}
  found = run('grpo/qwen3_30b_tau2.py', '--topology=v5e:2x2',
              f'--json={tmp_path}/plan.json', *small(
                  **models, **meshes, **engines, **sampling,
                  tasks=2, group=4, micro_rows=4))
  assert 'It fits.' in found.stdout, found.stderr[-2000:]
  plan = json.loads((tmp_path / 'plan.json').read_text())
  assert [x['name'] for x in plan['programs']] == [
      'update', 'agent prefill', 'agent decode', 'user prefill', 'user decode']
  update, _, decode, *_ = plan['programs']
  # Experts are divided, and Adam keeps two numbers for each parameter.
  assert update['held']['optimiser'] == pytest.approx(
      2 * update['held']['parameters'], rel=0.01)
  # 2 layers, keys and values, 1 of 2 heads, 128 features, bfloat16; ids.
  assert decode['held']['cache'] == 4 * 256 * (2 * 2 * 128 * 2 + 4)
  # What is made again in the backward pass comes on top of what is needed.
  assert 1 < update['flops'] / update['model_flops'] < 2.5
  assert plan['engines'] == 2 and plan['slots'] > 4


def test_what_cannot_be_planned_is_refused():
  found = run('eval/builtin.py', '--topology=v5e:2x2')
  assert 'Only configs of SFT' in found.stderr
  found = run('sft/builtin.py', '--topology=v5e:2x2')
  assert 'config.model must give the whole shape' in found.stderr
