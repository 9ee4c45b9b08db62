"""Plans of route changes; one file a router. PURE."""
