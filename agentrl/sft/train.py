"""Supervised fine-tuning of the agent or of the user model: one loop."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import functools
import time
from typing import Annotated, Any, NamedTuple

import jax
import ml_collections
import tqdm

from agentrl import checkpoint
from agentrl import metrics
from agentrl import sharding
from agentrl import types
from agentrl.data import batches
from agentrl.data import vocabulary
from agentrl.envs import load as env_load
from agentrl.models import config as model_config
from agentrl.models import kernels
from agentrl.models import transformer
from agentrl.sft import likelihood
from agentrl.sft import rows as rows_lib
from agentrl.stage import bundles
from agentrl.stage import fields
from agentrl.stage import inputs as inputs_lib
from agentrl.stage import runs
from agentrl.tokenizer import formats
from agentrl.tokenizer import vocab as vocab_lib
from agentrl.train import loop
from agentrl.train import optimizer
from agentrl.train import tuning


@dataclasses.dataclass(frozen=True)
class Config:
  """Fields of the config; configs/sft/builtin.py explains them."""

  seed: int
  side: types.Side
  domains: tuple[str, ...]
  env: Mapping[str, Any]
  data: str
  tokenizer: str
  init_from: str
  model: bundles.ModelFields
  mesh: sharding.Axes
  batch_size: int
  length: int
  micro_rows: int
  history_thinking: formats.Keeps
  total_steps: int
  optimizer: Annotated[Mapping[str, Any],
                       fields.ArgumentsOf(optimizer.make, positional=1)]
  lora: tuning.Lora
  save_every: int


def read_config(config: ml_collections.ConfigDict,
                name: str = 'config') -> Config:
  """Returns the fields of a config, or raises ValueError; see `fields.read`."""
  return fields.read(Config, config, name=name)


def train(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Fine-tunes one side of the dialogues; see configs/sft/builtin.py.

  A run that was stopped resumes from its last checkpoint, and ends with the
  same parameters as if it had not been.

  Raises:
    ValueError: a wrong config, or inputs that do not fit it.
  """
  config = read_config(config)
  partition = tuning.make(jax.random.key(config.seed),
                          **dataclasses.asdict(config.lora))
  tx = optimizer.make(config.total_steps, **config.optimizer)
  _check_sources(config)
  run = runs.start(workdir, f'{config.side}_sft', config, {
      name: source for name, source in (
          ('data', config.data), ('tokenizer', config.tokenizer),
          ('init_from', config.init_from)) if source or name == 'data'})
  if run.done:
    return
  model, vocab, start_model = _describe(config, run.inputs)
  formats.check_keeps(config.history_thinking, vocab)
  mesh = sharding.make_mesh(config.mesh)
  sharding.check(model, mesh)
  kernels.check_length(model.attention, config.length, 'config.length')
  rows = rows_lib.packed(run.inputs['data'], vocab, env_load.load_many(
      config.domains, config.env), side=config.side, length=config.length,
                history_thinking=config.history_thinking)
  data = batches.iterator(rows, batch_size=config.batch_size, seed=config.seed)

  training = loop.make(
      functools.partial(transformer.init, model, jax.random.key(config.seed)),
      functools.partial(likelihood.next_token, model=model), tx, mesh=mesh,
      micro_rows=config.micro_rows, partition=partition)
  manager = checkpoint.Manager(run.folder / 'checkpoints')
  done, state, frozen, position = loop.restore_or_init(
      manager, training,
      (lambda: bundles.load(start_model, mesh).params) if start_model else None)
  if position is not None:
    data.set_state(position)

  writer = metrics.MetricsWriter(run.folder, done)
  bar = tqdm.tqdm(total=config.total_steps, initial=done, unit='step',
                  desc=f'SFT of the {config.side}')
  for step in range(done, config.total_steps):
    began = time.monotonic()
    state, values = training.update(state, next(data), frozen)
    values = loop.to_floats(values)
    seconds = time.monotonic() - began
    values['time/step_s'] = seconds
    values['time/tokens_per_s'] = config.batch_size * config.length / seconds
    writer.write(step, values)
    bar.update()
    bar.set_postfix_str(f'loss {values["train/loss"]:.3f} nats/token, '
                        f'{values["time/tokens_per_s"]:,.0f} tokens/s')
    if (step + 1) % config.save_every == 0:
      manager.save(step + 1, state, data.get_state())
  bar.close()
  manager.close()
  writer.close()
  if config.lora.rank:
    checkpoint.save_params(run.folder / 'adapters', state.params)
  run.finish(bundles.save(run.folder, model, vocab,
                          partition.merge(state.params, frozen)),
             tokens_seen=config.total_steps * config.batch_size * config.length,
             rows=len(rows['ids_BT']))


def _check_sources(config: Config) -> None:
  """Raises ValueError if neither the vocabulary nor the model has a source."""
  if config.lora.rank and not config.init_from:
    raise ValueError(f'config.lora.rank={config.lora.rank} adapts a trained '
                     'model: set config.init_from to its folder, or the rank '
                     'to 0.')
  if not config.tokenizer and not config.init_from:
    raise ValueError(
        "config.tokenizer='' takes the vocabulary of config.init_from, but "
        "that is '' too: set the one to the folder of the tokenizer stage "
        f'({inputs_lib.MAKERS["tokenizer"]}), or the other to a trained model.')


class _Model(NamedTuple):
  """The model to train.

  Attributes:
    model: its shape.
    vocab: its vocabulary.
    start: the model whose parameters it starts from; None starts from scratch.
  """

  model: model_config.ModelConfig
  vocab: vocab_lib.AnyVocab
  start: bundles.Description | None


def _describe(config: Config, inputs: Mapping[str, inputs_lib.Input]
             ) -> _Model:
  """Returns the shape and vocabulary of a model from scratch or `init_from`.

  Raises:
    ValueError: model, vocabulary and `init_from` do not fit together.
  """
  if not config.tokenizer:
    start = bundles.describe(inputs['init_from'], config.model)
    return _Model(start.model, start.vocab, start)
  vocab = vocabulary.load(inputs['tokenizer'])
  model = model_config.make(config.model, vocab_size=vocab.size)
  if not config.init_from:
    return _Model(model, vocab, None)
  start = bundles.describe(inputs['init_from'])
  _check_start(start, model, vocab.digest)
  return _Model(model, vocab, dataclasses.replace(start, model=model))


def _check_start(start: bundles.Description, model: model_config.ModelConfig,
                 vocab_digest: str) -> None:
  """Raises ValueError unless a model can be trained from the parameters of
  another one."""
  own = start.vocab.digest
  if own != vocab_digest:
    raise ValueError(
        f'config.init_from was trained with vocabulary {own}, but '
        f'config.tokenizer holds {vocab_digest}: the same ids would mean '
        "other words. Set config.tokenizer to '', which takes its own.")
  have, want = (dataclasses.asdict(m) for m in (start.model, model))
  if off := {k: (v, want[k]) for k, v in have.items()
             if v != want[k] and k not in bundles.FREE[1:]}:
    raise ValueError(f'config.init_from is of another model (field: its value, '
                     f'config.model): {off}. Make them equal.')
