"""The options of `noisegate serve` for the command line, made from the one list in config/settings.py."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, get_args

import typer
from pydantic.fields import FieldInfo

from noisegate_server.cli.sources import CONFIG_VARIABLE, PREFIX, Settings, read_settings
from noisegate_server.config import Config, ConfigError, option_name

__all__ = ["refuse_config", "with_settings"]

_METAVARS: Final[dict[Any, str]] = {int: "NUMBER", float: "SECONDS", str: "HOST:PORT", Path | None: "FILE"}


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """A command that is called with `settings` and takes all their options, --config, and keywords of its own.

    `settings` is the refusal, a ConfigError, where the options cannot be meant.
    """
    own = [each for name, each in inspect.signature(command, eval_str=True).parameters.items() if name != "settings"]

    def run(*, config: Path | None, **given: Any) -> None:
        others = {each.name: given.pop(each.name) for each in own}
        settings: Settings | ConfigError
        try:
            settings = read_settings({name: value for name, value in given.items() if value is not None}, config)
        except ConfigError as refusal:
            settings = refusal
        command(settings=settings, **others)

    parameters = [_config(), *own, *(_parameter(name, field) for name, field in Config.model_fields.items())]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    # typer reads the signature and the annotations of what it is given.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def refuse_config(error: ConfigError) -> NoReturn:
    """Say what cannot be meant, and end with exit code 2."""
    typer.echo(f"noisegate: {error}", err=True)
    raise typer.Exit(2) from None


def _config() -> inspect.Parameter:
    option = typer.Option(
        "--config",
        metavar="FILE",
        envvar=CONFIG_VARIABLE,
        help="TOML file with options by name; the environment and the command line come before it.",
    )
    return _keyword("config", Path | None, option)


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    annotation: Any
    declaration = option_name(name)
    if field.annotation is bool:
        annotation, metavar = bool | None, None
        declaration += "/" + option_name(f"no_{name}")
    elif isinstance(field.default, tuple):
        annotation, metavar = list[str] | None, "NAME[,NAME]..." if field.default else "[TENANT=]FILE"
    else:
        # As text: it is read, and refused, in the same way wherever it comes from.
        annotation, metavar = str | None, _METAVARS.get(field.annotation) or "|".join(get_args(field.annotation))
    return _keyword(name, annotation, typer.Option(declaration, metavar=metavar, help=_help(name, field)))


def _keyword(name: str, annotation: Any, option: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[annotation, option]
    )


def _help(name: str, field: FieldInfo) -> str:
    bounds = {type(limit).__name__: limit for limit in field.metadata}
    notes = [f"{_shown(bounds['Ge'].ge)} to {_shown(bounds['Le'].le)}"] if "Ge" in bounds else []
    if field.annotation is not bool and field.default not in (None, "", ()):
        notes.append(f"default {_shown(field.default)}")
    return f"{field.description} ({'; '.join([*notes, PREFIX + name.upper()])})"


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(each.name for each in value)
    return f"{value:,}".removesuffix(".0") if isinstance(value, int | float) else str(value)
