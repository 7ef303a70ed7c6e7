"""The slot engine: samples turns of many dialogues from one model.

Each dialogue owns a slot, and the keys and values of its tokens stay in the
cache from its first to its last turn: what is new is appended, nothing is read
twice. The engine knows ids only, nothing of messages.

Shapes are few and known beforehand, and `warmup` compiles them all: so many
rows (`widths`) of so many new tokens (`chunks`) against a cache of so many
places (`lengths`: it is as long as the longest open dialogue needs, so that
short ones do not pay for what might have been). Rows are gathered from the
slots that have work, so idle slots cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from agentrl.models import config as model_config
from agentrl.models import transformer
