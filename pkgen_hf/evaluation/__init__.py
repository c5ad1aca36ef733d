"""What protocols measure, the searches that are baselines, and speed."""
