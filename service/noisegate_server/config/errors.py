"""The one refusal of a configuration."""

from __future__ import annotations

__all__ = ["ConfigError", "option_name"]


class ConfigError(ValueError):
    """An option that cannot be meant; the text names the option and the remedy, never the value. Exit code 2."""

    def __init__(self, option: str, remedy: str) -> None:
        super().__init__(f"{option}: {remedy}")
        self.option = option
        """As the command line spells it."""
        self.remedy = remedy


def option_name(field: str) -> str:
    """The command line's spelling of a field."""
    return "--" + field.replace("_", "-")
