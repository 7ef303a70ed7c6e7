"""Where a dialogue is put changes nothing of what it samples."""

import jax
import numpy as np

from agentrl import sharding
from agentrl import testing
from agentrl.rollout import engine as engine_lib
from agentrl.rollout import pool as pool_lib

CONFIG = testing.tiny_model()


def engine():
  return engine_lib.Engine(
      CONFIG, slots=2, length=64, max_new=8, chunks=(8,), width=4,
      stop_id=testing.ByteVocab().end)


def play(sampler, count):
  slots = [sampler.open(seed) for seed in range(count)]
  for slot in slots:
    sampler.feed(slot, np.arange(9, 20) + slot)
  turns = {}
  while len(turns) < count:
    turns |= {turn.slot: turn.ids.tolist() for turn in sampler.step()}
  return turns


def test_two_engines_sample_what_one_does():
  params = testing.chatty_params(CONFIG, stop=0.25)
  mesh = sharding.make_mesh(dict(data=1, fsdp=1, tensor=1))
  one, pool = engine(), pool_lib.Pool([engine(), engine()], [mesh, mesh])
  for sampler in (one, pool):
    sampler.load(jax.device_put(params))
  assert play(pool, 2) == play(one, 2)
  assert [x.free for x in pool._engines] == [1, 1]  # spread, not filled up
  pool.close(0)
  assert pool.free == 3
  assert pool.open(9) == 0
