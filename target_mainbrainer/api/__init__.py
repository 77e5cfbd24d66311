"""MainBrainer's API: its JSON, its endpoints, its limits, and everything HTTP."""
