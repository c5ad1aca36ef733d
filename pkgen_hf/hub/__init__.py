"""Checkpoints and tables from folders, from the package itself and from the Hub."""
