"""From contact to outcome: batches in flight, in order, each record accounted for."""
