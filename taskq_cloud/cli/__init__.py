"""The `taskq` command: one file a command."""
