"""What to fetch before it is asked for."""
