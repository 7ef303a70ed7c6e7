"""Imports a published corpus; see configs/eigendata/published.py."""

import common

from agentrl.eigendata.published import stage as published

if __name__ == '__main__':
  common.run(published.synthesize)
