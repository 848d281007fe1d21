"""Admission plugins, one file each, and the chain that puts them in order."""
