"""How often Python looks for garbage in a process that is a cluster.

The parts hold hundreds of thousands of decoded objects, none of them in a cycle. The collector's usual rhythm walks over
all of them again and again: measured, a fifth of the interpreter's time from POST to Running, to find nearly nothing.
"""

from __future__ import annotations

import gc

THRESHOLDS = (50_000, 20, 50)
"""New objects before the youngest are looked at; how many such looks before the next generation is, and then the oldest.
What cycles there are (exceptions, tasks) waits some megabytes longer."""


def settle() -> None:
    """After the start, for a process of our own: what stands is not looked at again, what comes, rarely. A program that
    embeds a cluster decides for itself."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
