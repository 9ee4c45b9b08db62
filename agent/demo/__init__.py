"""The page's canary, end to end, on one machine."""
