"""What the lowest versions of libraries must have, beside what other tests of `make test-lowest` run."""

import transformers

from mla_extend.demo.base import _preprocessing


def test_transformers_has_the_image_processor_that_the_demo_base_names() -> None:
    """It works on PIL images and needs no torchvision; versions before 5.4 lack it."""
    assert hasattr(transformers, _preprocessing()["image_processor_type"])
