"""From record to contact: what a column is, what a value means, what fits the schema."""
