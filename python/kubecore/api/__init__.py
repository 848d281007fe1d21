"""The words everybody shares: kinds and resources, Status errors, metadata, time. Imports nothing above it."""
