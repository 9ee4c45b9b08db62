"""A cluster in one process: store, REST facade, simulated workloads."""
