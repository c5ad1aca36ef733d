"""Methods and protocols that results compare, what is measured, the baselines that search, and throughput."""
