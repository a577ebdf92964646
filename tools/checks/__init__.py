"""What scripts/check and scripts/audit run besides tools: checks of this project's own."""
