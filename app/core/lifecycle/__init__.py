"""What ends a request or brings it back: cancellation, expiry, recovery, outbox."""
