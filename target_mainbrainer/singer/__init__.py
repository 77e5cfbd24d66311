"""Singer messages in: lines, JSON as taps write it, BATCH files.

What a message means for a run belongs to `target`.
"""
