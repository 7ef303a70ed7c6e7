"""Imports a published corpus; see configs/eigendata/published.py."""

import common

from agentrl.eigendata import published

if __name__ == '__main__':
  common.run(published.synthesize)
