"""Analysis runs: assessment, schedule, arguments, expressions (PURE) and providers (I/O)."""
