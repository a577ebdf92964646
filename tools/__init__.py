"""Tools of the developers that scripts/ starts. The product imports nothing from here."""
