"""What training and sampling cost: ours against `transformers` and torch.

  .venv/bin/pip install -e .[hf] torch transformers
  .venv/bin/python benchmarks/model_bench.py --shape=5m --rows=16 --length=512
  python benchmarks/model_bench.py --shape=1b7 --dtype=bfloat16 --rows=8 \
    --length=4096 --out=benchmarks/results/x.json       (on an accelerator)

The same weights and shapes in one run on one machine, each alone:
  sft      one step of AdamW on full rows: forward, backward, update
  prefill  reading prompts into the cache
  decode   sampling from there, greedy
MFU is the model's FLOPs (`models/flops.py`: nothing that is computed twice
counts) over those of a large matrix product on the same
machine, which is measured first.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
import dataclasses
import functools
import gc
import pathlib
import tempfile
import time
from typing import Any

from absl import app
from absl import flags
import jax
import jax.numpy as jnp
import numpy as np
import origin

from agentrl import files
from agentrl import sharding
from agentrl.models import cache as cache_lib
from agentrl.models import config as model_config
from agentrl.models import flops
from agentrl.models import transformer
from agentrl.models import weights
from agentrl.rollout import device
from agentrl.sft import likelihood
from agentrl.train import loop
from agentrl.train import optimizer

SHAPES = {
    '5m': dict(vocab_size=4096, num_layers=4, d_model=256, num_heads=4,
               num_kv_heads=2, head_dim=64, d_ff=1024, rope_theta=1e4),
    '135m': dict(vocab_size=49152, num_layers=30, d_model=576, num_heads=9,
                 num_kv_heads=3, head_dim=64, d_ff=1536, rope_theta=1e5),
    '1b7': dict(vocab_size=151936, num_layers=28, d_model=2048, num_heads=16,
                num_kv_heads=8, head_dim=128, d_ff=6144, rope_theta=1e6,
                qk_norm=True)}

SHAPE = flags.DEFINE_enum('shape', '5m', SHAPES, 'Size of the model.')
DTYPE = flags.DEFINE_enum('dtype', 'float32', model_config.DTYPES,
                          'Of weights and activations.')
ROWS = flags.DEFINE_integer('rows', 16, 'Rows of an SFT step.')
LENGTH = flags.DEFINE_integer('length', 512, 'Tokens of a row.')
MICRO_ROWS = flags.DEFINE_integer('micro_rows', 0, 'Rows at a time; 0: all.')
BATCH = flags.DEFINE_integer('batch', 32, 'Sequences that are sampled.')
PROMPT = flags.DEFINE_integer('prompt', 256, 'Tokens that are read.')
NEW = flags.DEFINE_integer('new', 128, 'Tokens that are sampled.')
REPEATS = flags.DEFINE_integer('repeats', 5, 'The median of so many.')
SET = flags.DEFINE_multi_string(
    'set', [], 'A field of the model, as remat=full.')
DATA = flags.DEFINE_integer(
    'data', 1, 'Devices that share the rows of a step; a CPU is split into '
    'them, as the scripts do.')
TORCH = flags.DEFINE_bool('torch', True, 'Measure torch beside.')
TRACE = flags.DEFINE_string('trace', '', 'Folder for a profile of our step.')
OUT = flags.DEFINE_string('out', '', 'Where to write the figures as JSON.')

LR = 1e-4


def fields(texts: Sequence[str]) -> dict[str, Any]:
  """What `--set` gives: fields of a model, of their types.

  Raises:
    ValueError: no `name=value`, or a value that is none of its field's type.
  """
  types = {x.name: x.type for x in dataclasses.fields(model_config.ModelConfig)}
  found = {}
  for text in texts:
    name, equals, value = text.partition('=')
    if not equals:
      raise ValueError(f'--set must be a field and its value, as remat=full, '
                       f'got {text!r}.')
    found[name] = value
    if types.get(name, 'str') != 'str':  # unknown ones: see `make`
      try:
        found[name] = ast.literal_eval(value)
      except (ValueError, SyntaxError) as e:
        raise ValueError(
            f'--set={text}: {name} is of type {types[name]}, and {value!r} is '
            'no Python literal: give it as 3, 0.5, True or None.') from e
  return found


def median(work: Callable[[], Any]) -> float:
  """Seconds of `work()`, which waits for its result."""
  seconds = []
  work()
  for _ in range(REPEATS.value):
    start = time.perf_counter()
    work()
    seconds.append(time.perf_counter() - start)
  return float(np.median(seconds))


def matmul_flops() -> float:
  """FLOP/s of one large matrix product."""
  size = 4096 if jax.default_backend() == 'cpu' else 16384
  x = jnp.ones((size, size), DTYPE.value)
  product = jax.jit(jnp.matmul)
  return 2 * size**3 / median(lambda: product(x, x).block_until_ready())


def tokens(rows: int, length: int, vocab_size: int) -> np.ndarray:
  return np.random.default_rng(0).integers(
      3, vocab_size, (rows, length), np.int32)


def ours(config: model_config.ModelConfig, params: Any) -> dict[str, float]:
  """Seconds of each."""
  return {**_our_step(config, params), **_our_sampling(config, params)}


def _our_step(config: model_config.ModelConfig, params: Any
              ) -> dict[str, float]:
  mesh = sharding.make_mesh(
      {**dict.fromkeys(sharding.AXES, 1), 'data': DATA.value},
      field='--data: axes')
  tx = optimizer.make(
      name='adamw', peak_lr=LR, norm_lr=1.0, warmup_steps=1, total_steps=10**6,
      schedule='constant', clip_norm=1.0, master=False, weight_decay=0.0,
      b1=0.9, b2=0.999)
  training = loop.make(
      lambda: jax.tree.map(jnp.asarray, params),
      functools.partial(likelihood.next_token, model=config), tx, mesh=mesh,
      micro_rows=MICRO_ROWS.value or ROWS.value)
  shape = ROWS.value, LENGTH.value
  batch = {'ids_BT': tokens(*shape, config.vocab_size),
           'positions_BT': np.tile(np.arange(LENGTH.value, dtype=np.int32),
                                   (ROWS.value, 1)),
           'segments_BT': np.ones(shape, np.int32),
           'target_BT': np.ones(shape, bool)}
  state = training.init(None)

  def step() -> None:
    nonlocal state
    state, values = training.update(state, batch)
    values['loss'].block_until_ready()
  seconds = median(step)
  if TRACE.value:
    with jax.profiler.trace(TRACE.value):
      step()
  return {'sft_s': seconds}


def _our_sampling(config: model_config.ModelConfig, params: Any
                  ) -> dict[str, float]:
  rows, span = BATCH.value, PROMPT.value + NEW.value
  ids_BT = tokens(rows, PROMPT.value, config.vocab_size)
  cache = cache_lib.empty(config, rows, span)
  shardings = device.cache_shardings(cache, params)
  cache = jax.device_put(cache, shardings)
  spec = device.EngineSpec(config, burst=NEW.value, stop_id=-1, pad_id=0,
                           shardings=shardings)
  zeros = np.zeros(rows, np.int32)
  read = device.SlotRows(np.arange(rows), zeros, zeros,
                         np.full(rows, PROMPT.value - 1))
  write = read._replace(start_B=read.count_B, count_B=np.full(rows, NEW.value))

  def prefill() -> None:
    nonlocal cache
    cache = device.prefill(params, cache, read, ids_BT[:, :-1], spec=spec,
                           span=span)
    cache.ids_BS.block_until_ready()

  def decode() -> None:
    nonlocal cache
    cache, new_BT, _ = device.decode(params, cache, write, ids_BT[:, -1], 0.0,
                                     spec=spec, span=span)
    new_BT.block_until_ready()
  return {'prefill_s': median(prefill), 'decode_s': median(decode)}


def theirs(folder: pathlib.Path) -> dict[str, float]:
  """The same by `transformers` on torch, from the weights in `folder`."""
  import torch
  import transformers
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  model = transformers.AutoModelForCausalLM.from_pretrained(
      folder, attn_implementation='sdpa',
      dtype=getattr(torch, DTYPE.value)).to(device)
  wait = torch.cuda.synchronize if device == 'cuda' else lambda: None
  size = model.config.vocab_size
  ids = torch.tensor(tokens(ROWS.value, LENGTH.value, size),
                     dtype=torch.long, device=device)
  adam = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.0,
                           betas=(0.9, 0.999), fused=device == 'cuda')

  def step() -> None:
    adam.zero_grad()
    for part in ids.split(MICRO_ROWS.value or ROWS.value):
      model(part, labels=part, use_cache=False).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    adam.step()
    wait()
  sft = median(step)
  model.eval()
  prompt = torch.tensor(tokens(BATCH.value, PROMPT.value, size),
                        dtype=torch.long, device=device)

  @torch.no_grad()
  def read() -> Any:
    past = model(prompt[:, :-1], use_cache=True, logits_to_keep=1)
    wait()
    return past.past_key_values

  @torch.no_grad()
  def both() -> None:
    past, last = read(), prompt[:, -1:]
    for _ in range(NEW.value):
      out = model(last, past_key_values=past, use_cache=True)
      past, last = out.past_key_values, out.logits[:, -1:].argmax(-1)
    wait()
  prefill = median(read)
  return {'sft_s': sft, 'prefill_s': prefill,
          'decode_s': median(both) - prefill}


def show(name: str, seconds: dict[str, float], needed: float, peak: float
         ) -> dict[str, float]:
  """Prints one side; the seconds with what follows from them."""
  rates = {
      'sft_tokens_per_s': ROWS.value * LENGTH.value / seconds['sft_s'],
      'sft_mfu': needed / seconds['sft_s'] / peak,
      'prefill_tokens_per_s': BATCH.value * (PROMPT.value - 1)
                              / seconds['prefill_s'],
      'decode_tokens_per_s': BATCH.value * NEW.value / seconds['decode_s']}
  print(f'{name:6} SFT step {seconds["sft_s"]:.3f} s, '
        f'{rates["sft_tokens_per_s"]:,.0f} tokens/s, MFU '
        f'{rates["sft_mfu"]:.1%}; prefill '
        f'{rates["prefill_tokens_per_s"]:,.0f} tokens/s; decode '
        f'{rates["decode_tokens_per_s"]:,.0f} tokens/s', flush=True)
  return {**seconds, **rates}


def main(argv: Sequence[str]) -> None:
  if argv[1:]:
    raise app.UsageError(f'Unexpected arguments {argv[1:]}.')
  if DATA.value > 1:
    jax.config.update('jax_num_cpu_devices', DATA.value)
  longest = max(LENGTH.value, PROMPT.value + NEW.value)
  config = model_config.make({
      **SHAPES[SHAPE.value], 'max_length': longest, 'norm_eps': 1e-6,
      'dtype': DTYPE.value, 'param_dtype': DTYPE.value, **fields(SET.value)})
  params = jax.jit(functools.partial(transformer.init, config))(
      jax.random.key(0))
  peak = matmul_flops()
  needed = 3 * flops.forward(config, ROWS.value, LENGTH.value, picked=1.0)
  print(f'{SHAPE.value}: {sum(x.size for x in jax.tree.leaves(params)):,} '
        f'parameters, {DTYPE.value}, {jax.devices()[0].device_kind}; a matrix '
        f'product reaches {peak / 1e9:,.0f} GFLOP/s', flush=True)
  found = {**origin.facts(f'A model of shape {SHAPE.value}, ours and torch'),
           'device': jax.devices()[0].device_kind, 'matmul_flops': peak}
  found['ours'] = show('ours', ours(config, params), needed, peak)
  if TORCH.value:
    with tempfile.TemporaryDirectory() as folder:
      weights.write(pathlib.Path(folder) / 'model', config, params)
      del params
      gc.collect()
      found['torch'] = show('torch', theirs(pathlib.Path(folder) / 'model'),
                            needed, peak)
  if OUT.value:
    files.write_json(OUT.value, found)


if __name__ == '__main__':
  app.run(main)
