"""Archives of build artifacts: named by a rule, kept below the prefix of a run, fetched and unpacked together."""
