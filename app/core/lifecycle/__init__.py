"""The end of a request, and its recovery: cancellation, expiry, orphans, outbox, clean-up."""
