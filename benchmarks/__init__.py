"""What `make bench` runs: the target as a whole process, beside the SDK's own sink."""
