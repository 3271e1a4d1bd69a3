"""Object bytes on local disk."""
