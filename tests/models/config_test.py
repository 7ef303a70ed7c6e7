"""Wrong shapes are refused by name."""

import dataclasses

import pytest

from agentrl.models import config as model_config

CONFIG = model_config.ModelConfig(
    vocab_size=31, num_layers=2, d_model=16, num_heads=4, num_kv_heads=2,
    head_dim=4, d_ff=24, max_length=32)

SCALING = dict(factor=8.0, low=1.0, high=4.0, original_length=16)


@pytest.mark.parametrize('change, words', [
    (dict(num_kv_heads=3), 'num_heads=4 must be a multiple'),
    (dict(head_dim=5), 'must be even'), (dict(d_ff=0), 'at least 1'),
    (dict(num_layers=2.0), 'integer'), (dict(num_layers=True), 'integer'),
    (dict(dtype='float31'), "dtype .* got 'float31'"),
    (dict(norm_eps=0.0), 'norm_eps must be above 0'),
    (dict(smear=1, qk_norm=True), 'smear=1 starts with induction heads'),
    (dict(num_experts=2), 'experts_per_token=0 must lie between 1 and .*=2'),
    (dict(experts_per_token=1), 'experts_per_token=1 must'),
    (dict(num_experts=2, experts_per_token=3), 'experts_per_token=3 must'),
    (dict(num_experts=-1), 'at least 0'),
    (dict(norm_topk=True), 'norm_topk=True .* are of models with experts'),
    (dict(router_aux_coef=0.1), 'router_aux_coef=0.1 are of models'),
    (dict(num_experts=2, experts_per_token=1, router_aux_coef=-0.1),
     'router_aux_coef must be'),
    (dict(rope_scaling=dict(low=2.0)), "needs 'factor'"),
    (dict(rope_scaling=dict(factor=2.0, low=1.0)), 'got factor, low'),
    (dict(activation='gelu'), "silu, gelu_tanh, got 'gelu'"),
    (dict(window=3), 'window=3 is of local .*global_every=1'),
    (dict(global_every=2), 'set both'),
    (dict(window=-1), 'window must be at least 0'),
    (dict(rope_theta='1e4'), "model.rope_theta must be a float, got '1e4'"),
    (dict(norm_eps=None), 'norm_eps must be a float, got None'),
    (dict(norm_eps=True), 'norm_eps must be a float, got True'),
    (dict(query_pre_attn_scalar='9'), 'query_pre_attn_scalar must be a float'),
    (dict(qk_norm=1), 'qk_norm must be True or False, got 1'),
    (dict(tie_embeddings='no'), "tie_embeddings must be True or .* got 'no'"),
    (dict(remat=None), 'remat must be a string, got None'),
    (dict(rope_scaling=8.0), 'rope_scaling must be a section .* got 8.0'),
    (dict(query_pre_attn_scalar=0), 'query_pre_attn_scalar must be above 0'),
    (dict(rope_scaling={**SCALING, 'factor': 0}), 'factor must be a number'),
    (dict(rope_scaling={**SCALING, 'high': 1}), 'high=1 must be above')])
def test_wrong_values_are_refused(change, words):
  with pytest.raises(ValueError, match=words):
    dataclasses.replace(CONFIG, **change)


def test_made_from_a_section_and_from_what_the_data_decide():
  fields = dataclasses.asdict(CONFIG)
  del fields['vocab_size']
  assert model_config.make(fields, vocab_size=31) == CONFIG


def test_a_nested_section_comes_back():
  config = dataclasses.replace(CONFIG, rope_scaling=SCALING)
  assert config.rope_scaling == model_config.RopeScaling(**SCALING)
  assert model_config.make(dataclasses.asdict(config)) == config
  assert hash(config)


def test_unknown_and_missing_fields_are_named():
  with pytest.raises(ValueError, match="no 'd_modl'.*'d_model'"):
    model_config.make({'d_modl': 3})
  with pytest.raises(ValueError, match="needs.*'num_layers'"):
    model_config.make({'vocab_size': 3})
