"""Evidence: evaluated architectures, and what follows from them for all others of the space."""
