"""Parts of the composition root: what is wired together, by subject."""
