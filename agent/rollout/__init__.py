"""decide and everything it stands on. PURE."""
