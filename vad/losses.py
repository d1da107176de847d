"""The loss of UR-DMU: one score loss, four memory losses, triplet, KL and distance.

Source: the published code of UR-DMU (its class `AD_Loss`); term names are those of its log.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vad.models.memory import top_count, top_mean
from vad.models.urdmu import BagOutput


@dataclass(frozen=True, kw_only=True)
class AdWeights:
    """Published weights; the score loss has weight 1."""

    memory: float = 0.1
    triplet: float = 0.1
    kl: float = 0.001
    distance: float = 1e-4


def ad_loss(output: BagOutput, weights: AdWeights | None = None) -> dict[str, Tensor]:
    """Every term, unweighted, and `total`, their weighted sum. All are 0-d.

    Labels need not be given: they follow from which bag a score belongs to.
    """
    w = weights or AdWeights()
    top = output.top or top_count(output.normal_scores.shape[1])
    scores = torch.cat([output.normal_scores, output.abnormal_scores])
    labels = torch.zeros(len(scores), device=scores.device, dtype=scores.dtype)
    labels[len(output.normal_scores) :] = 1
    terms = {
        "att_loss": F.binary_cross_entropy(top_mean(scores, top), labels),
        "A_loss": _bce(top_mean(output.a_att, top), 1.0),
        "N_Aatt": _bce(top_mean(1 - output.n_aatt, top), 1.0),
        "N_loss": _bce(output.n_att, 1.0),
        "A_Nloss": _bce(output.a_natt, 0.0),
        "triplet": output.triplet,
        "kl_loss": output.kl,
        "distance": output.distance,
    }
    memory = terms["A_loss"] + terms["N_Aatt"] + terms["N_loss"] + terms["A_Nloss"]
    total = (
        terms["att_loss"]
        + w.memory * memory
        + w.triplet * terms["triplet"]
        + w.kl * terms["kl_loss"]
        + w.distance * terms["distance"]
    )
    return {"total": total, **terms}


def _bce(values: Tensor, target: float) -> Tensor:
    """Mean binary cross-entropy against one label; torch clamps the logarithm at -100."""
    return F.binary_cross_entropy(values, torch.full_like(values, target))
