"""Argo's objects as typed, immutable data. PURE."""
