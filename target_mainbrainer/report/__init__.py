"""What became of every record: counts, rejections and their file, summary, report.

What decides an outcome belongs to `mapping` and `delivery`.
"""
