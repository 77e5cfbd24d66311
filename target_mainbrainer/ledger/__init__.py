"""The ledger: the database that remembers what was delivered and which requests were spent.

Here: opening it, comparing contacts with it, marking and confirming, the quota that runs share.
Not here: what a contact is, sending, and which STATE may be written.
"""
