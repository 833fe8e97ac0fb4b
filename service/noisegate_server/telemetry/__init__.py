"""What an operator sees: spans, metrics and logs. It wraps the table of methods once; nothing below knows of it."""
