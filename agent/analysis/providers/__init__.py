"""Metric providers: one file each."""
