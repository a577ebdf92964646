"""Developer tools, started by scripts/. The product imports nothing from here."""
