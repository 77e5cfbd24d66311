"""What became of every record: counts, the rejects file, the summary.

What decides an outcome belongs to `mapping` and `delivery`.
"""
