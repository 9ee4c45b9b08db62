"""Language-neutral cases of the contract, and what runs them: `python -m tests.conformance DIR...`."""
