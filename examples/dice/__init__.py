"""A dice game: its players speak the player's protocol with public libraries alone."""
