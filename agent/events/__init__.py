"""The CloudEvent envelope and the catalogue of our event types."""
