"""The settings: declared once, checked before anything else happens.

What a setting does belongs to the part that does it.
"""
