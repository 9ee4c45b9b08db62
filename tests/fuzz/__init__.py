"""Fuzzing beside the real thing."""
