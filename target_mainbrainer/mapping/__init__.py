"""From record to contact or rejection: columns, identifiers, consent, properties. Pure.

What happens to a contact afterwards belongs to `rounds`.
"""
