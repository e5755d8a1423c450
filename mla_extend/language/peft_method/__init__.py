"""Language acquirers as a PEFT method, and the one place that knows PEFT; in modules as PEFT's own tuners have.

A text tower is wrapped once and holds any number of languages. Each wrapped block keeps one acquirer a language, the
wrapped token embedding one table a language. Which rows of a batch belong to which language is resolved once a batch
into a `Plan` of contiguous rows; a language's ids are looked up in its own table alone.

Importing this package registers the method, which PEFT needs before it can load an adapter of this type.
"""

from mla_extend.language.peft_method.config import KIND, PEFT_TYPE, AcquirerConfig
from mla_extend.language.peft_method.layer import AcquirerBlock, AcquirerEmbedding, OwnTable, ProjectedTable
from mla_extend.language.peft_method.model import AcquirerModel, attach, join, leave, register
from mla_extend.language.peft_method.routing import BASE_PATH, Plan, Routing, Run, plan_of
from mla_extend.language.peft_method.tensors import adapter_parameters, adapter_tensors, load_tensors

__all__ = [
    "BASE_PATH",
    "KIND",
    "PEFT_TYPE",
    "AcquirerBlock",
    "AcquirerConfig",
    "AcquirerEmbedding",
    "AcquirerModel",
    "OwnTable",
    "Plan",
    "ProjectedTable",
    "Routing",
    "Run",
    "adapter_parameters",
    "adapter_tensors",
    "attach",
    "join",
    "leave",
    "load_tensors",
    "plan_of",
]

register()
