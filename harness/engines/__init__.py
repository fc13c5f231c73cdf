"""Where workers run: on this machine, later on others."""
