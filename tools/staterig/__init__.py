"""How scripts/record_state makes the state that it records."""
