"""What exists: directories with their age."""
