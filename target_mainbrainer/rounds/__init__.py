"""Contacts on their way: a load is a series of rounds, each decided before its first request."""
