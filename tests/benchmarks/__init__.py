"""What s3mount costs beside other mounts, on the same server, the same tree, in the same run."""
