"""Singer messages in: lines, JSON as taps really write it, and BATCH files."""
