"""Support of an internet provider: the caller holds the device."""
