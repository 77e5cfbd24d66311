"""The settings: limits, schema, checks, and the frozen `Settings` made of them.

What a setting does belongs to the part that does it.
"""
