"""The engine that owns concurrency."""
