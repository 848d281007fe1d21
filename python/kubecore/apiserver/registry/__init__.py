"""From a request that may be made to bytes that are stored. `registry.py` is the front, `generic.py` the one write path."""
