"""Samples, sources, stores and loading: everything between a file on disk and a batch."""
