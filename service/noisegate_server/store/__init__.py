"""The sessions that this process holds: look-up, caps, expiry, and what is told about ended ones."""
