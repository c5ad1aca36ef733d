"""What command line and app ask for and answer."""
