"""What an object store is, and its kinds."""
