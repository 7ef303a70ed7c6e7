"""Packs episodes into the batch of a policy-gradient update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from agentrl import types
from agentrl.data import pack


def to_batch(episodes: Sequence[types.Episode], advantages: Sequence[float], *,
             length: int, buckets: Sequence[int] = (),
             side: Literal['agent', 'user'] = 'agent') -> dict[str, np.ndarray]:
  """Packs the traces of one side.

  Nothing is rendered here: these are the ids that were fed and sampled, with
  their log-probabilities at that time. A trace may be several sequences, see
  `types.Trace.sequences`; each sampled id is in one of them.

  Args:
    episodes: played dialogues.
    advantages: advantage of each episode [reward]; every token that the side
      sampled shares it.
    length: T of the rows [tokens]; at least the context of the sampler.
    buckets: numbers of rows to choose from, see `data.pack.pack`.
    side: the side that is trained.

  Returns:
    ids_BT (int32), positions_BT (int32), segments_BT (int32 from 1; 0 is
    empty), target_BT (bool: sampled by that side), logp_old_BT (float32 [nats])
    and adv_BT (float32 [reward]); the last two are 0 off target.

  Raises:
    ValueError: lists of unequal length, an episode without that trace, or a
      trace that does not fit.
  """
  if len(episodes) != len(advantages):
    raise ValueError(f'{len(episodes)} episodes but {len(advantages)} '
                     'advantages: pass one for each.')
  items = []
  for episode, advantage in zip(episodes, advantages):
    trace = getattr(episode, side)
    if trace is None:
      raise ValueError(
          f'Episode {episode.task_id}/{episode.trial} ({episode.outcome}) has '
          f'no trace of the {side}: was that side a model, and did the episode '
          'get as far as its first turn?')
    items += [{
        'ids': part.ids_T,
        'target': part.sampled_T,
        'logp_old': part.logp_T,
        'adv': np.float32(advantage) * part.sampled_T.astype(np.float32),
    } for part in trace.sequences()]
  return pack.pack(items, length=length, buckets=buckets)
