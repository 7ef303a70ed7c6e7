"""The slot engine: what it samples depends on seed and ids alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl import sharding
from agentrl import testing
from agentrl.models import transformer
from agentrl.rollout import device
from agentrl.rollout import engine as engine_lib
from agentrl.rollout import prefixes

CONFIG = testing.tiny_model(smear=2)
PARAMS = testing.chatty_params(CONFIG, stop=0.25)
STOP = testing.ByteVocab().end
LENGTH = 160


def make(**kw):
  sizes = dict(slots=6, length=LENGTH, stop_id=STOP, max_new=40, width=4,
               chunks=(8, 32))
  engine = engine_lib.Engine(CONFIG, **sizes | kw)
  engine.load(PARAMS)
  return engine


@pytest.fixture(scope='module')
def shared():
  return make()


@pytest.fixture
def engine(shared):
  yield shared
  for slot in range(6):
    if slot in shared._open:
      shared.close(slot)


def prompt(seed, length):
  return np.random.default_rng(seed).integers(9, CONFIG.vocab_size, length)


def run(engine, count=1):
  """The next `count` turns, by slot."""
  turns = {}
  while len(turns) < count:
    turns |= {turn.slot: turn for turn in engine.step()}
  return turns


def say(engine, seed, *feeds):
  """One dialogue alone: everything it sampled, and the log-probabilities."""
  slot = engine.open(seed)
  turns = []
  for ids in feeds:
    engine.feed(slot, ids)
    turns.append(run(engine)[slot])
  engine.close(slot)
  return (np.concatenate([t.ids for t in turns]),
          np.concatenate([t.logps for t in turns]))


@jax.jit
def likeliest(ids_T, last):
  """The id to follow ids_T[:last + 1], read anew and without a cache."""
  hidden_BTD, _ = transformer.hidden(
      CONFIG, PARAMS, ids_T[None], jnp.arange(LENGTH)[None])
  logits_V = transformer.logits(CONFIG, PARAMS, hidden_BTD[0, last])
  return logits_V.at[0].set(-jnp.inf).argmax()


def test_greedy_is_the_argmax_of_the_whole_context():
  engine = make(temperature=0.0, max_new=6)
  slot, context_T, size = engine.open(0), np.zeros(LENGTH, int), 0
  for feed in (prompt(1, 50), prompt(2, 9)):  # two turns, one cache
    engine.feed(slot, feed)
    turn = run(engine)[slot]
    context_T[size:size + feed.size] = feed
    size += feed.size
    for i in turn.ids:
      assert i == likeliest(context_T, size - 1)
      context_T[size] = i
      size += 1
  assert not turn.logps.any()


def test_a_turn_ends_by_stop_and_goes_on_after_it(engine):
  ids, logps = say(engine, 3, prompt(0, 20), prompt(1, 5), prompt(2, 5))
  assert (ids == STOP).sum() >= 2  # of three turns; one may be full
  assert (ids != 0).all() and (logps < 0).all()
  assert ids.dtype == np.int32 and logps.dtype == np.float32


def test_equal_seeds_equal_samples_and_other_seeds_others(engine):
  feeds = prompt(0, 12), prompt(1, 12)
  said = [tuple(say(engine, seed, *feeds)[0]) for seed in range(8)]
  assert tuple(say(engine, 3, *feeds)[0]) == said[3]
  assert len(set(said)) == 8


def test_company_does_not_matter(engine):
  """Other slot, other batch, shared beginning: the same samples."""
  alone = say(engine, 11, prompt(0, 70), prompt(1, 30))
  for seed in (1, 2, 3, 4):
    slot = engine.open(seed)
    engine.feed(slot, np.append(prompt(0, 70)[:40 + seed], prompt(seed, 20)))
    engine.step()
  slot = engine.open(11)
  parts = []
  for feed in (prompt(0, 70), prompt(1, 30)):
    engine.feed(slot, feed)
    turns = {}
    while slot not in turns:
      turns = {turn.slot: turn for turn in engine.step()}
    parts.append(turns[slot])
  np.testing.assert_array_equal(
      np.concatenate([t.ids for t in parts]), alone[0])
  np.testing.assert_allclose(
      np.concatenate([t.logps for t in parts]), alone[1], atol=1e-4)


def test_a_slot_forgets_its_last_dialogue(engine):
  fresh = say(make(), 5, prompt(0, 33), prompt(1, 3))
  say(engine, 6, prompt(2, 100), prompt(3, 12))  # leaves slot 0 full of it
  again = say(engine, 5, prompt(0, 33), prompt(1, 3))
  np.testing.assert_array_equal(again[0], fresh[0])
  np.testing.assert_array_equal(again[1], fresh[1])


def test_nothing_is_read_twice(engine, monkeypatch):
  read = []
  prefill = device.prefill

  def count(params, cache, rows, *args, **kw):
    read.append(int(rows.count_B.sum()))
    return prefill(params, cache, rows, *args, **kw)
  monkeypatch.setattr(device, 'prefill', count)
  beginning = prompt(0, 3 * prefixes.BLOCK)
  slots = [engine.open(seed) for seed in range(4)]
  for slot in slots:
    engine.feed(slot, np.append(beginning, prompt(slot, 5)))
  turns = run(engine, 4)
  # The beginning once, the rest of each; the last id is read by decoding.
  assert sum(read) == beginning.size + 4 * (5 - 1)
  read.clear()
  engine.feed(slots[0], prompt(9, 6))
  run(engine)
  assert sum(read) == 6  # the last id of its own turn, and five of six
  assert turns[slots[0]].ids.size


def test_nothing_compiles_after_warmup():
  mesh = sharding.make_mesh(dict(data=1, fsdp=1, tensor=1))
  params = jax.device_put(PARAMS, sharding.shardings(PARAMS, mesh))
  engine = make(slots=5, width=3, length=150)  # shapes no other test has
  engine.load(params)
  with testing.count_compiles() as compiled:
    engine.warmup()
  assert compiled
  with testing.count_compiles() as compiled:
    for _ in range(2):
      slots = [engine.open(seed) for seed in range(5)]
      for turn in range(3):
        for slot in slots:
          engine.feed(slot, prompt(slot + turn, 1 + 7 * slot))
        run(engine, 5)
      for slot in slots:
        engine.close(slot)
      engine.load(jax.device_put(PARAMS, sharding.shardings(PARAMS, mesh)))
  assert not compiled


def test_full_turns(engine):
  slot = engine.open(0)
  seen = []
  for _ in range(9):
    engine.feed(slot, prompt(0, 30))
    seen.append(run(engine)[slot])
  total = sum(30 + t.ids.size for t in seen if t.ids.size)
  refused = [t for t in seen if not t.ids.size]
  assert total <= LENGTH < total + 30 + refused[0].ids.size + 1
  assert all(t.full for t in refused)
  for turn in seen:
    if turn.ids.size:
      assert turn.full == (turn.ids[-1] != STOP)


def test_what_was_rewound_over_is_forgotten(engine):
  """The next turn is that of the shorter context, read anew."""
  beginning, rest = prompt(0, 2 * prefixes.BLOCK + 5), prompt(1, 21)
  slot = engine.open(3)
  engine.feed(slot, np.append(beginning, prompt(2, 40)))
  first = run(engine)[slot]
  with pytest.raises(ValueError, match='cannot be rewound to'):
    engine.rewind(slot, beginning.size + 40 + first.ids.size)
  engine.rewind(slot, beginning.size)
  # Who has the same beginning still copies it, but no more of it.
  other = engine.open(4)
  engine.feed(other, np.append(beginning, prompt(2, 40)))
  engine.feed(slot, rest)
  with pytest.raises(RuntimeError, match='still speaking'):
    engine.rewind(slot, 1)
  turns = run(engine, 2)
  for who, fed in ((slot, rest), (other, prompt(2, 40))):
    ids = np.concatenate([beginning, fed, turns[who].ids])
    at = beginning.size + fed.size - 1
    hidden_BTD, _ = transformer.hidden(
        CONFIG, PARAMS, ids[None], np.arange(ids.size)[None])
    logp_TV = jax.nn.log_softmax(
        transformer.logits(CONFIG, PARAMS, hidden_BTD[0, at:-1]))
    np.testing.assert_allclose(
        np.take_along_axis(logp_TV, turns[who].ids[:, None], 1)[:, 0],
        turns[who].logps, atol=1e-4)


def test_max_new():
  engine = make(max_new=3)
  slots = [engine.open(seed) for seed in range(6)]
  for slot in slots:
    engine.feed(slot, prompt(0, 4))
  turns = run(engine, 6).values()
  assert any(turn.full for turn in turns)
  for turn in turns:
    assert turn.ids.size <= 3
    assert turn.full == (STOP not in turn.ids)


def test_after_a_rest_it_samples_the_same_and_compiles_nothing():
  engine = make(slots=2, width=2, chunks=(8,))
  engine.warmup()
  want = say(engine, 3, prompt(0, 20))
  held = lambda: sum(x.nbytes for x in jax.live_arrays())
  cache, before = sum(x.nbytes for x in engine._cache.k), held()
  with testing.count_compiles() as compiled:
    engine.rest()
    assert before - held() > cache
    np.testing.assert_array_equal(say(engine, 3, prompt(0, 20)), want)
    engine.rest(forget=True)
    engine.load(PARAMS)
    np.testing.assert_array_equal(say(engine, 3, prompt(0, 20)), want)
  assert not compiled


def test_misuse(engine):
  slots = [engine.open(seed) for seed in range(6)]
  with pytest.raises(RuntimeError, match='All 6 slots are open'):
    engine.open(0)
  with pytest.raises(RuntimeError, match='6 dialogues are still open'):
    engine.load(PARAMS)
  with pytest.raises(RuntimeError, match='6 dialogues are still open'):
    engine.rest()
  with pytest.raises(ValueError, match=r'\[0, 265\)'):
    engine.feed(slots[0], [265])
  with pytest.raises(ValueError, match='no ids'):
    engine.feed(slots[0], [])
  engine.feed(slots[0], [9, 10])
  with pytest.raises(RuntimeError, match='still speaking'):
    engine.feed(slots[0], [9])
  engine.close(slots[0])
  with pytest.raises(ValueError, match='seed'):
    engine.open(-1)
  assert engine.open(0) == slots[0]
  with pytest.raises(ValueError, match="'slots': 0"):
    make(slots=0)
  with pytest.raises(ValueError, match='temperature'):
    make(temperature=-1.0)
