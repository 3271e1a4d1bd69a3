"""The command line: parses, wires and prints, one file per command group."""
