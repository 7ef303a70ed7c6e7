"""Makes seeds from names, so that the order of work does not matter."""

from __future__ import annotations

import hashlib
from typing import Any


def seed_of(*parts: Any) -> int:
  """Returns a 48-bit seed that is a function of all parts and their order."""
  text = '/'.join(map(str, parts))
  return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], 'big')
