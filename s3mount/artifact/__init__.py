"""Artifacts of a job, a workflow or a project: names that become keys, and the stores that hold them."""
