"""Figures from vectors: ranks, recalls, intervals and reports. This room never asks where the vectors came from."""

from mla_extend.evaluation.intervals import (
    Comparison,
    Interval,
    Ratio,
    RecallIntervals,
    bootstrap,
    paired_bootstrap,
    ratio_bootstrap,
    wilson,
)
from mla_extend.evaluation.recall import METRICS, Protocol, Retrieval, RetrievalResult, chance, evaluate_retrieval
from mla_extend.evaluation.report import SplitReport, evaluation_json, split_report
from mla_extend.evaluation.transfer import TextTransfer, text_transfer
from mla_extend.ranks import ranks

__all__ = [
    "METRICS",
    "Comparison",
    "Interval",
    "Protocol",
    "Ratio",
    "RecallIntervals",
    "Retrieval",
    "RetrievalResult",
    "SplitReport",
    "TextTransfer",
    "bootstrap",
    "chance",
    "evaluate_retrieval",
    "evaluation_json",
    "paired_bootstrap",
    "ranks",
    "ratio_bootstrap",
    "split_report",
    "text_transfer",
    "wilson",
]
