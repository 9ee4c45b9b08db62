"""`serinus lint`: what is wrong with manifests, before anything is applied. PURE."""
