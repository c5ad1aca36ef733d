"""Requests for architectures and their answers, shared by the command line and the app."""
