"""``onnxplain completions``: the script that makes a shell complete commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .errors import DONE
from .lazy import COMPLETION, command


@command("completions")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completions_command(ctx: click.Context, shell: str) -> int:
    """Print the completion script of SHELL.

    \b
    bash (4.4 or later), in ~/.bashrc:
      eval "$(onnxplain completions bash)"
    zsh, in ~/.zshrc:
      eval "$(onnxplain completions zsh)"
    fish:
      onnxplain completions fish > ~/.config/fish/completions/onnxplain.fish
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"click has no completion for '{shell}'")
    program = found(ctx.find_root().command, {}, "onnxplain", COMPLETION)
    click.echo(program.source_template % program.source_vars())
    return DONE


command = completions_command
