"""From fields to a queued request: limits, price, idempotency, record, first job."""
