"""A Singer target that upserts the records of any tap as contacts into the MainBrainer CRM."""
