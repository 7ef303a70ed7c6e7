"""Wrong shapes are refused by name."""

import dataclasses

import pytest

from agentrl.models import config as model_config

CONFIG = model_config.ModelConfig(
    vocab_size=31, num_layers=2, d_model=16, num_heads=4, num_kv_heads=2,
    head_dim=4, d_ff=24, max_length=32)


@pytest.mark.parametrize('change, words', [
    (dict(num_kv_heads=3), 'num_heads=4 must be a multiple'),
    (dict(head_dim=5), 'must be even'), (dict(d_ff=0), 'at least 1'),
    (dict(num_layers=2.0), 'integer'), (dict(num_layers=True), 'integer'),
    (dict(dtype='float31'), "dtype .* got 'float31'"),
    (dict(norm_eps=0.0), 'norm_eps must be above 0')])
def test_wrong_values_are_refused(change, words):
  with pytest.raises(ValueError, match=words):
    dataclasses.replace(CONFIG, **change)


def test_made_from_a_section_and_from_what_the_data_decide():
  fields = dataclasses.asdict(CONFIG)
  del fields['vocab_size']
  assert model_config.make(fields, vocab_size=31) == CONFIG


def test_unknown_and_missing_fields_are_named():
  with pytest.raises(ValueError, match="no 'd_modl'.*'d_model'"):
    model_config.make({'d_modl': 3})
  with pytest.raises(ValueError, match="needs.*'num_layers'"):
    model_config.make({'vocab_size': 3})
