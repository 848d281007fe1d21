"""Who asks, whether they may, and what is refused on the way in. `gate.py` puts it together."""
