"""What the shell offers for names: methods and models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    import click


def complete_methods(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001 - click's signature
    """Offer the explainers' names."""
    from ..engine.registry import plugins

    return [CompletionItem(m.name, help=m.summary) for m in plugins("explainer") if m.name.startswith(incomplete)]


def complete_analyses(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001 - click's signature
    """Offer the analyses' names."""
    from ..engine.registry import plugins

    return [CompletionItem(m.name, help=m.summary) for m in plugins("analysis") if m.name.startswith(incomplete)]


def complete_metrics(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001 - click's signature
    """Offer the metrics' names."""
    from ..engine.registry import plugins

    return [CompletionItem(m.name, help=m.summary) for m in plugins("metric") if m.name.startswith(incomplete)]


def complete_models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the demonstration models, and files."""
    return [*complete_recipes(ctx, param, incomplete), CompletionItem(incomplete, type="file")]


def complete_recipes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001 - click's signature
    """Offer the demonstration models."""
    from ..models.catalogue import recipes

    return [CompletionItem(r.name, help=r.title) for r in recipes() if r.name.startswith(incomplete)]
