"""What keeps personal data and secrets out of logs and error texts.

What is said, as far as it is safe to say, belongs to the part that says it.
"""
