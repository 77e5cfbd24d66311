"""Contacts on their way: buffer, batches in flight, isolation, confirmation, STATE.

What is said about them afterwards belongs to `report`.
"""
