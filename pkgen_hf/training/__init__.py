"""Training of the denoiser: arguments, tasks, episodes, batches, losses, loop, processes and checkpoints."""
