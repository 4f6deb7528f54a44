"""Speed of backward rules: a pass under rules against forward and backward of the same twin.

Every pair is both, one after the other on the same rows; the ratio is taken pair by pair and the median quoted. A pass
includes all that an explanation needs but its making: relevance at the input, and the ledger of losses. DeepLIFT runs
the reference too. Transformer-attribution is measured as it runs: relevance at the attention weights alone, one sample
at a time.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import onnxplain
from benchmarks import machine
from benchmarks.networks import NETWORKS
from benchmarks.twin import compared, exported, problems_of
from onnxplain.adapters.torch.attention import transformer_attribution
from onnxplain.adapters.torch.attention.attn_lrp import AttnLrp
from onnxplain.adapters.torch.attention.conservative_lrp import ConservativeLrp
from onnxplain.adapters.torch.gradient.slopes import Slopes
from onnxplain.adapters.torch.relevance.differences import rules_of
from onnxplain.adapters.torch.relevance.lrp import Lrp
from onnxplain.adapters.torch.rules import Exact, Flow, Rectified, RuleSet
from onnxplain.engine.internals.attention import attention_of

if TYPE_CHECKING:
    from onnxplain.engine.problem import Problem

ABOUT = "wall time of a pass under rules / forward and backward of the twin; medians of alternating pairs"
ATTENTIVE = ("ViT-Tiny", "BERT block")
LOW, HIGH = -6.0, 6.0  # of inputs drawn from a normal distribution and cut there


def main(pairs: int = 7, rows: int = 2) -> list[dict[str, Any]]:
    """Measure, print and write the table."""
    torch.manual_seed(0)
    table = []
    for name, network in NETWORKS.items():
        original = network.build().eval().requires_grad_(requires_grad=False)
        drawn = np.random.default_rng(0).standard_normal((rows, *network.shape))
        batch = np.clip(drawn, LOW, HIGH).astype(np.float32)
        model = onnxplain.load(exported(original, batch), device="cpu")
        torch.set_num_threads(model.threads)
        problems = problems_of(model, batch)
        slopes = Slopes.of(problems)
        sets = rule_sets(problems[0]) | (attention_sets(problems[0]) if name in ATTENTIVE else {})
        for what, rules in sets.items():
            flow = Flow(dataclasses.replace(slopes, rules=rules))
            at_zero = (
                {n: torch.zeros_like(v) for n, v in slopes.values.items()} if what.startswith("deeplift") else None
            )

            def passed(flow: Flow = flow, at_zero: Any = at_zero) -> None:
                list(flow.batches(flow.slopes.values, flow.slopes.everyone, at_zero))

            def there_and_back(slopes: Slopes = slopes) -> None:
                slopes.at_samples()

            table.append(compared(f"{name}, {what}", passed, there_and_back, pairs, rows))
        if name in ATTENTIVE:
            table.append(at_attention(name, problems[0], pairs))
    print(f"\n{'what':46} {'rows':>5} {'seconds':>8} {'other':>8} {'ratio':>7}  (min - max)")
    for row in table:
        print(
            f"{row['what']:46} {row['rows']:5d} {row['seconds']:8.3f} {row['other_seconds']:8.3f} {row['ratio']:7.3f}"
            f"  ({row['ratio_min']:.3f} - {row['ratio_max']:.3f})"
        )
    print("written:", machine.write("rules", table, ABOUT))
    return table


def rule_sets(problem: Problem) -> dict[str, RuleSet]:
    """Return the sets of rules that are measured."""
    guided = (("activation", Rectified(guided=True)), ("any", Exact()))
    bounds = {"low": LOW, "high": HIGH}
    return {
        "lrp uniform": Lrp(preset="uniform").rule_set(problem),
        "lrp epsilon-plus-unbiased": Lrp(preset="epsilon-plus-unbiased").rule_set(problem),
        "lrp epsilon-plus": Lrp(preset="epsilon-plus").rule_set(problem),
        "lrp epsilon-alpha2-beta1": Lrp(preset="epsilon-alpha2-beta1").rule_set(problem),
        "lrp epsilon-gamma-box": Lrp(preset="epsilon-gamma-box", **bounds).rule_set(problem),
        "guided-backprop": RuleSet("guided-backprop", guided, flow="gradient", merge=False),
        "deeplift": rules_of("rescale"),
    }


def attention_sets(problem: Problem) -> dict[str, RuleSet]:
    """Return the sets of rules for transformers."""
    return {
        "attn-lrp": AttnLrp().rule_set(problem),
        "conservative-lrp": ConservativeLrp().rule_set(problem),
    }


def at_attention(name: str, problem: Problem, pairs: int) -> dict[str, Any]:
    """Measure transformer-attribution's pass for one sample."""
    found = attention_of(problem)
    inner = dataclasses.replace(problem, model=found.model)
    rules = transformer_attribution.rule_set(inner)
    ruled = Slopes.of([inner], tuple(layer.weights for layer in found.layers), rules=rules)
    slopes = Slopes.of([problem])

    def passed() -> None:
        ruled.at_samples()

    def there_and_back() -> None:
        slopes.at_samples()

    return compared(f"{name}, transformer-attribution", passed, there_and_back, pairs, 1)


if __name__ == "__main__":
    main()
