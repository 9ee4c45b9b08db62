"""Runners that behave in every way a runner can, for the tests of the conformance run itself."""
