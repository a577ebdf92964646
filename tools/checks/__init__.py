"""The project's own checks, run by scripts/check and scripts/audit."""
