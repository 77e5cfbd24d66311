"""Contacts, what identifies them, and why a record cannot be one. Pure data.

How a record becomes a contact belongs to `mapping`.
"""
