"""Container runtimes behind one protocol of CRI's shape."""
