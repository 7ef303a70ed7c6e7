"""Shapes of published models, as fields of `ModelConfig`.

Source: config.json of each on Hugging Face; those with experts are the
releases of July 2025 (Thinking-2507). They are for plans, and for checks of
converted models; a run takes its model from a folder.
"""

from __future__ import annotations

from typing import Any

LONG = dict(  # how rows of tens of thousands of tokens are trained on TPU
    dtype='bfloat16', param_dtype='float32', scan_layers=True,
    remat='attention', attention='splash')


def _qwen3(**sizes: Any) -> dict[str, Any]:
  return {**dict(vocab_size=151_936, num_kv_heads=8, head_dim=128,
                 max_length=40_960, rope_theta=1e6, norm_eps=1e-6,
                 qk_norm=True, tie_embeddings=False), **sizes}


def _qwen3_moe(**sizes: Any) -> dict[str, Any]:
  return _qwen3(num_kv_heads=4, num_experts=128, experts_per_token=8,
                norm_topk=True, experts='megablox', max_length=262_144,
                **sizes)


MODELS: dict[str, dict[str, Any]] = {
    'qwen3_0.6b': _qwen3(num_layers=28, d_model=1024, num_heads=16, d_ff=3072,
                         tie_embeddings=True),
    'qwen3_1.7b': _qwen3(num_layers=28, d_model=2048, num_heads=16, d_ff=6144,
                         tie_embeddings=True),
    'qwen3_4b': _qwen3(num_layers=36, d_model=2560, num_heads=32, d_ff=9728,
                       tie_embeddings=True),
    'qwen3_8b': _qwen3(num_layers=36, d_model=4096, num_heads=32, d_ff=12_288),
    'qwen3_14b': _qwen3(num_layers=40, d_model=5120, num_heads=40,
                        d_ff=17_408),
    'qwen3_32b': _qwen3(num_layers=64, d_model=5120, num_heads=64,
                        d_ff=25_600),
    'qwen3_30b_a3b': _qwen3_moe(num_layers=48, d_model=2048, num_heads=32,
                                d_ff=768, rope_theta=1e7),
    'qwen3_235b_a22b': _qwen3_moe(num_layers=94, d_model=4096, num_heads=64,
                                  d_ff=1536, rope_theta=5e6),
}
