"""Where checkpoints and tables come from: folders, the package itself and the Hub."""
