"""MainBrainer's side: its JSON, its endpoints, tokens, retries and the rate limit.

Which contacts go out when, and what an answer means for them, belongs to `rounds`.
"""
