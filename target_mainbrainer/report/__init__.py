"""How every record has ended: counts, rejections and their file, summary, report.

What decides an outcome belongs to `mapping` and `delivery`.
"""
