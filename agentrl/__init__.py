"""agentrl: post-training for assistants that talk to people and use tools."""

__version__ = '0.1.0'
