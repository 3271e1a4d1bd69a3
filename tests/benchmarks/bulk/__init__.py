"""What s3mount's bulk commands cost beside other tools: whole processes, from start to exit, on one server."""
