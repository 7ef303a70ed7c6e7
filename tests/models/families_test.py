"""Published families give the logits and gradients of `transformers`."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from agentrl.models import cache as cache_lib
from agentrl.models import config as model_config
from agentrl.models import families
from agentrl.models import layouts
from agentrl.models import moe
from agentrl.models import transformer
from agentrl.models import weights
from agentrl.sft import likelihood

LENGTH, PREFIX, VOCAB = 12, 5, 37
LLAMA3 = dict(rope_type='llama3', rope_theta=100.0, factor=4.0,
              low_freq_factor=0.2, high_freq_factor=2.0,
              original_max_position_embeddings=16)
MOE = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=12,
           norm_topk_prob=True, output_router_logits=True,
           router_aux_loss_coef=0.1)


def gemma3(every, layers, window, scalar, factor=None):
  """(rotary embedding, more of the config) of a Gemma 3."""
  long = dict(rope_type='linear', factor=factor) if factor else dict(
      rope_type='default')
  return (dict(full_attention=dict(long, rope_theta=300.0),
               sliding_attention=dict(rope_type='default', rope_theta=20.0)),
          dict(num_hidden_layers=layers, sliding_window=window,
               query_pre_attn_scalar=scalar, sliding_window_pattern=every,
               pad_token_id=None))


# kind, heads, key-value heads, head size, tied, rotary embedding; more fields
CASES = [
    ('llama', 4, 4, 4, True, {}), ('llama', 6, 2, 8, False, {}),
    ('llama', 4, 1, 8, True, LLAMA3), ('llama', 2, 2, 6, False, LLAMA3),
    ('qwen2', 4, 2, 4, True, {}), ('qwen2', 3, 1, 8, False, {}),
    ('qwen2', 2, 2, 8, True, LLAMA3),
    ('qwen3', 4, 2, 8, True, {}), ('qwen3', 3, 3, 4, False, {}),
    ('qwen3', 4, 1, 6, False, LLAMA3), ('qwen3_moe', 4, 2, 8, True, {}, MOE),
    ('qwen3_moe', 2, 1, 6, False, LLAMA3, {**MOE, 'norm_topk_prob': False}),
    ('qwen3_moe', 4, 1, 4, True, {}, {
        **MOE, 'num_experts': 7, 'num_experts_per_tok': 1,
        'norm_topk_prob': False}),
    ('llama', 2, 1, 8, True, dict(
        rope_type='linear', factor=3.0, rope_theta=90.0)),
    ('gemma3_text', 4, 2, 8, True, *gemma3(2, 4, 4, 8)),
    ('gemma3_text', 4, 1, 6, True, *gemma3(3, 3, 3, 20, 8.0)),
    ('gemma3_text', 2, 2, 4, False, *gemma3(6, 2, 1, 4, 2.0)),
    ('gemma3_text', 3, 1, 8, True, *gemma3(1, 2, 4, 24))]


def name_of(case):
  kind, *sizes, tied, rope = case[:6]
  sizes += [x for more in case[6:] for x in list(more.values())[:2]]
  return '-'.join([kind, *map(str, sizes), 'tied' if tied else 'head',
                   rope.get('rope_type', 'plain')])


def theirs(kind, heads, kv_heads, size, tied, rope, more=None):
  """A random model of `transformers`, far from its quiet start."""
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers', minversion='5')
  config = transformers.AutoConfig.for_model(kind, **{**dict(
      vocab_size=VOCAB, num_hidden_layers=2, hidden_size=24,
      num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=size,
      intermediate_size=20, max_position_embeddings=64, rms_norm_eps=1e-3,
      tie_word_embeddings=tied, rope_parameters=rope or dict(
          rope_type='default', rope_theta=300.0)), **(more or {})})
  model = transformers.AutoModelForCausalLM.from_config(
      config, attn_implementation='eager', dtype=torch.float32).eval()
  torch.manual_seed(0)
  with torch.no_grad():
    for name, x in model.named_parameters():
      x.normal_(std=0.3).add_(
          float('norm' in name and kind != 'gemma3_text'))  # which adds it
  return model


def their_logits(model, ids_BT):
  torch = pytest.importorskip('torch')
  with torch.no_grad():
    return model(torch.tensor(ids_BT)).logits.numpy()


@pytest.fixture(scope='module', params=CASES, ids=name_of)
def pair(request, tmp_path_factory):
  """(their model, our config, our parameters), through files."""
  pytest.importorskip('safetensors')
  model = theirs(*request.param)
  folder = tmp_path_factory.mktemp('theirs')
  model.save_pretrained(folder)
  return model, *weights.read(folder)


@functools.partial(jax.jit, static_argnums=0)
def run(config, params, *args, **kwargs):
  hidden, cache = transformer.hidden(config, params, *args, **kwargs)
  return transformer.logits(config, params, hidden), cache


def tokens(length, seed=0):
  return np.random.default_rng(seed).integers(0, VOCAB, (1, length))


def assert_near(ours, theirs_):
  assert np.abs(theirs_).max() > 1  # or near would mean nothing
  assert np.abs(np.asarray(ours) - theirs_).max() <= 1e-4


def test_packed_and_alone_are_theirs(pair):
  model, config, params = pair
  whole, first, second = tokens(LENGTH), tokens(7, seed=1), tokens(4, seed=2)
  row = np.concatenate([first, second, [[0]]], 1)
  positions = np.array([[*range(7), *range(4), 0], [*range(LENGTH)]])
  segments = np.array([[1] * 7 + [2] * 4 + [0], [1] * LENGTH])
  out, _ = run(config, params, np.concatenate([row, whole]), positions,
               segments)
  assert_near(out[:1, :7], their_logits(model, first))
  assert_near(out[:1, 7:11], their_logits(model, second))
  assert_near(out[1:], their_logits(model, whole))


def test_prefill_and_every_decode_step_are_theirs(pair):
  model, config, params = pair
  ids = tokens(LENGTH)
  want = their_logits(model, ids)
  cache = cache_lib.empty(config, 1, LENGTH + 3)
  at = np.arange(LENGTH)[None]
  out, cache = run(config, params, ids[:, :PREFIX], at[:, :PREFIX], cache=cache)
  assert_near(out, want[:, :PREFIX])
  for t in range(PREFIX, LENGTH):
    out, cache = run(config, params, ids[:, t:t + 1], at[:, t:t + 1],
                     cache=cache)
    assert_near(out, want[:, t:t + 1])


def test_written_back_it_loads_with_equal_logits(pair, tmp_path):
  transformers = pytest.importorskip('transformers')
  model, config, params = pair
  weights.write(tmp_path / 'ours', config, params, shard_bytes=9000)
  assert len(list((tmp_path / 'ours').glob('*.safetensors'))) > 1
  back, report = transformers.AutoModelForCausalLM.from_pretrained(
      tmp_path / 'ours', attn_implementation='eager', output_loading_info=True)
  assert not report['missing_keys'] and not report['unexpected_keys']
  assert type(back) is type(model)
  ids = tokens(LENGTH)
  np.testing.assert_array_equal(their_logits(back, ids),
                                their_logits(model, ids))


@pytest.mark.parametrize('pair', CASES[10:12], ids=name_of, indirect=True)
def test_the_loss_of_routers_is_theirs(pair):
  torch = pytest.importorskip('torch')
  model, config, params = pair
  ids = np.concatenate([tokens(LENGTH), tokens(LENGTH, seed=1)])
  real = np.arange(LENGTH) < np.array([[LENGTH], [7]])
  want = model(torch.tensor(ids), torch.tensor(real)).aux_loss.item()
  _, routing = transformer.hidden_and_routing(
      config, params, ids, np.tile(np.arange(LENGTH), (2, 1)), real)
  found = moe.balance_loss(routing)
  assert found == pytest.approx(want, rel=1e-5) and found > 2.01
  np.testing.assert_array_equal(
      routing.count_LE.sum(1), 2 * real.sum())  # two experts a token


def their_gradients(model):
  """By the names in files, which have each expert by itself."""
  for name, x in model.named_parameters():
    stem, _, last = name.rpartition('.')
    for i, one in enumerate(x.grad.numpy() if x.ndim == 3 else ()):
      parts = [one] if last == 'down_proj' else np.split(one, 2)
      names = ['down_proj'] if last == 'down_proj' else ['gate_proj', 'up_proj']
      yield from ((f'{stem}.{i}.{part}.weight', y)
                  for part, y in zip(names, parts))
    if x.ndim < 3:
      yield name, x.grad.numpy()


@pytest.mark.parametrize('case', [
    *(CASES[i] for i in (2, 5, 9, 10, 15)),
    pytest.param(CASES[11], marks=pytest.mark.slow)], ids=name_of)
def test_gradients_are_theirs(case, tmp_path):
  torch = pytest.importorskip('torch')
  pytest.importorskip('safetensors')
  model = theirs(*case)
  model.save_pretrained(tmp_path)
  config, params = weights.read(
      tmp_path, router_aux_coef=getattr(model, 'router_aux_loss_coef', 0.0))
  ids = tokens(LENGTH)
  model(torch.tensor(ids), labels=torch.tensor(ids)).loss.backward()
  want = dict(their_gradients(model))

  at = np.arange(LENGTH)[None]
  batch = dict(ids_BT=ids, positions_BT=at, segments_BT=np.ones_like(at),
               target_BT=at > 0, total=LENGTH - 1)
  loss = lambda params: likelihood.next_token(params, batch, model=config)[0]
  grads = layouts.flat(jax.jit(jax.grad(loss))(params))
  compared = set()
  for piece in layouts.param_slices(config):
    grad = np.asarray(grads[piece.path][piece.at])
    parts = piece.layout.split(config, grad)
    for name, ours in zip(piece.theirs, parts):
      gap = np.linalg.norm(ours - want[name])
      assert gap <= 1e-3 * np.linalg.norm(want[name]), name
      compared.add(name)
  assert compared == want.keys()


SHAPE = model_config.ModelConfig(
    vocab_size=31, num_layers=2, d_model=16, num_heads=4, num_kv_heads=2,
    head_dim=6, d_ff=24, max_length=32, rope_theta=500.0, norm_eps=1e-5)


GEMMA = dict(qk_norm=True, post_norm=True, zero_centered_norm=True,
             activation='gelu_tanh', scale_embeddings=True)
LOCAL = dict(window=3, global_every=2, local_rope_theta=9.0)


@pytest.mark.parametrize('change', [
    {}, dict(qkv_bias=True), dict(qk_norm=True), dict(tie_embeddings=False),
    dict(rope_scaling=model_config.RopeScaling(8.0, 1.0, 4.0, 16)), GEMMA,
    dict(rope_scaling=model_config.RopeScaling(8.0)), {**GEMMA, **LOCAL},
    {**GEMMA, **LOCAL, 'global_every': 6, 'query_pre_attn_scalar': 9},
    dict(qk_norm=True, num_experts=4, experts_per_token=2, norm_topk=True)])
def test_config_there_and_back(change):
  config = dataclasses.replace(SHAPE, **change)
  assert families.from_hf(families.to_hf(config)) == config


@pytest.mark.parametrize('change, words', [
    (dict(model_type='lama'), "No model family 'lama'.*'llama'"),
    (dict(model_type=None), 'No model family None'),
    (dict(hidden_size=None, rms_norm_eps=None), 'hidden_size, rms_norm_eps'),
    (dict(hidden_act='gelu'), "hidden_act='gelu'"),
    (dict(attention_bias=True), 'attention_bias=True'),
    (dict(num_local_experts=8), 'num_experts=8.* 0 alone'),
    (dict(decoder_sparse_step=2), 'decoder_sparse_step=2'),
    (dict(mlp_only_layers=[0]), r'mlp_only_layers=\[0\]'),
    (dict(model_type='qwen3_moe'), 'lacks moe_intermediate_size'),
    (dict(rope_scaling={'type': 'yarn', 'factor': 4.0}), "by 'yarn'"),
    (dict(rope_scaling={'rope_type': 'llama3'}), 'lacks factor, low_freq'),
    (dict(final_logit_softcapping=30.0), 'final_logit_softcapping=30.0'),
    (dict(num_attention_heads='4', head_dim=None),
     "has num_attention_heads='4': these must be numbers"),
    (dict(num_attention_heads=0, head_dim=None), 'num_heads must be at least'),
    (dict(rope_theta='x'), "has rope_theta='x': these must be numbers"),
    (dict(sliding_window_pattern=2), 'sliding_window, rope_local_base_freq'),
    (dict(layer_types=['full_attention', 'sliding_attention']), 'equal steps'),
    (dict(layer_types=['sliding_attention'], sliding_window_pattern=2),
     'for all 2 layers'),
    (dict(sliding_window_pattern=2, rope_parameters=dict(
        sliding_attention=dict(rope_type='linear', factor=2.0))),
     "of its local layers by 'linear'"),
    (dict(num_key_value_heads=3), 'num_heads=4 must be a multiple')])
def test_what_would_not_be_exact_is_refused(change, words):
  with pytest.raises(ValueError, match=words):
    families.from_hf({**families.to_hf(SHAPE), **change})


@pytest.mark.parametrize('change', [
    dict(smear=2), dict(qk_norm=True, qkv_bias=True), LOCAL,
    dict(num_experts=4, experts_per_token=2), dict(GEMMA, activation='silu')])
def test_models_of_no_family_are_not_written(change):
  with pytest.raises(ValueError, match='No published family'):
    families.to_hf(dataclasses.replace(SHAPE, **change))


def test_what_older_files_leave_out():
  fields = families.to_hf(SHAPE)
  for key in ('head_dim', 'num_key_value_heads', 'rope_theta', 'rope_scaling',
              'tie_word_embeddings'):
    del fields[key]
  found = families.from_hf(fields, dtype='bfloat16')
  assert found == dataclasses.replace(
      SHAPE, head_dim=4, num_kv_heads=4, rope_theta=1e4, tie_embeddings=False,
      dtype='bfloat16')


def test_gemma_3_as_it_was_published():
  found = families.from_hf(dict(
      model_type='gemma3_text', attention_bias=False, head_dim=256,
      attn_logit_softcapping=None, final_logit_softcapping=None,
      hidden_activation='gelu_pytorch_tanh', hidden_size=1152,
      intermediate_size=6912, max_position_embeddings=32768,
      num_attention_heads=4, num_hidden_layers=26, num_key_value_heads=1,
      query_pre_attn_scalar=256, rms_norm_eps=1e-6, rope_scaling=None,
      rope_local_base_freq=10_000, rope_theta=1_000_000, sliding_window=512,
      sliding_window_pattern=6, vocab_size=262_144))
  assert found == model_config.ModelConfig(
      vocab_size=262_144, num_layers=26, d_model=1152, num_heads=4,
      num_kv_heads=1, head_dim=256, d_ff=6912, max_length=32768, norm_eps=1e-6,
      rope_theta=1e6, window=512, global_every=6, **GEMMA)
