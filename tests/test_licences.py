"""Licences that keep commercial use out are told from those that do not, as people write them."""

import pytest

from mla_extend.data.licences import is_noncommercial


@pytest.mark.parametrize(
    "licence",
    [
        "CC-BY-NC-4.0",
        "cc-by-nc-sa-3.0",
        "CC BY-NC-ND 4.0",
        "CC BY NC SA",
        "CC BY\u2011NC 4.0",
        "cc_by_nc",
        "CC-NC",
        "BY-SA-NC",
        "cc-by-nc4.0",
        "https://creativecommons.org/licenses/by-nc/4.0/",
        "Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International",
        "Namensnennung - Nicht-kommerziell 4.0",
        "Atribuição-NãoComercial",
        "Reconocimiento-NoComercial",
        "Pas d’Utilisation Commerciale",
        "PolyForm-Noncommercial-1.0.0",
        "NCGL-UK-2.0",
        "non-commercial",
        "Non commercial use",
        "No commercial use",
        "Not for commercial use",
        "may not be used for commercial purposes",
        "Commercial use is not permitted.",
        "commercial use prohibited",
        "research only",
        "Research use only",
        "for research and educational purposes only",
        "For academic use only",
        "non-commercial research-only",
        "only for research",
        "to be used solely for academic research",
        "limited to research purposes",
        "Unicode-3.0; CC-BY-NC-4.0; MIT",
    ],
)
def test_a_licence_without_commercial_use_is_known(licence: str) -> None:
    assert is_noncommercial(licence)


@pytest.mark.parametrize(
    "licence",
    [
        None,
        "",
        "unknown",
        "MIT",
        "MIT License",
        "Unlicense",
        "licence",
        "NCSA",
        "University of Illinois/NCSA Open Source License",
        "NC State University licence",
        "BSD-3-Clause-No-Nuclear-License",
        "CC-BY-4.0",
        "CC BY-SA 3.0",
        "CC-BY-ND-4.0",
        "CC0-1.0",
        "ODC-By-1.0",
        "Apache-2.0; CC-BY-4.0; CC-BY-SA-4.0; Unicode-3.0; MIT",
        "GPL-3.0-only",
        "LGPL-2.1-only or commercial",
        "commercial",
        "Free for commercial and non-commercial use",
        "non-commercial and commercial use allowed",
        "Commercial use is allowed",
        "no restriction on commercial use",
        "not only for research",
        "Public domain (for research, see the paper)",
        "免费",
        "رخصة مفتوحة",
    ],
)
def test_any_other_licence_is_not(licence: str | None) -> None:
    assert not is_noncommercial(licence)
