"""Whole prefixes at once: into the cache, or into plain files."""
