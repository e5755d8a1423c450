"""Measure what the demo base finds in photographs that nothing was trained on: its head alone, and with class names.

    apt-get download tuxpaint-stamps-default lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 mate-backgrounds
    for package in *.deb; do dpkg-deb -x $package pictures; done
    pip download --no-deps scikit-image && unzip -q scikit_image-*.whl 'skimage/data/*' -d pictures
    python benchmarks/photographs.py --pictures pictures [--write]

`stamps` are cut-out photographs of single things, with the English captions of their package (Tux Paint's stamps;
GPL-2, as the package). `scenes` are whole photographs of the other packages, with captions below, written by looking
at them. The weights of the class names were chosen on `stamps` and on the demo's test icons; `scenes` chose nothing.
"""

import argparse
from pathlib import Path
from typing import Any

from common import load, markdown, put, save

from mla_extend.bases.base import Base
from mla_extend.bases.open import open_base
from mla_extend.evaluation.report import split_report

DRAWN = {"cartoon", "easter", "flags", "halloween", "hanukkah", "hats", "moon", "newyears", "planets", "roadsigns"}
DRAWN |= {"shapes", "space", "symbols", "toys"}
"""Folders of stamps that are drawings, or hold little else."""
DRAWINGS = {"Santa", "bow", "button", "candy_cane", "explosion", "eye", "fire", "hard_candy", "hedgehog", "lamp"}
DRAWINGS |= {"lightningbolt", "pizza", "santahat", "star", "stocking", "tooth", "tree"}
"""Other stamps that are no photographs; so are those whose names begin with `t_`."""
LONGEST = 60
"""Characters of a caption: what is longer tells a story."""
SCENES = {
    "Bridge_by_Sander_Klootwijk.jpg": "the cables of a bridge against the blue sky",
    "Dragonfly_by_Bolly.jpg": "a dragonfly in front of leaves",
    "Picture_0B_by_freespace.jpg": "half a fig in a red bowl",
    "Picture_1A_by_freespace.jpg": "paint brushes with bright colours",
    "Wine_by_Jakkub_Mede.jpg": "a bottle of wine on a table and a drum on a bean bag",
    "aitzgorri_by_Aitzol_Berasategi.jpg": "a meadow and autumn trees below a mountain",
    "free_by_Peter_Nerlich.jpg": "a toy bird hanging below a lamp",
    "friends_by_Aitzol_Berasategi.jpg": "two dogs looking out of a window",
    "greentock_by_Peter_Nerlich.jpg": "the face of a clock",
    "life_by_Aitzol_Berasategi.jpg": "a stream in a forest",
    "picosdeeuropa_by_Aitzol_Berasategi.jpg": "a path to rocky mountains with snow",
    "seeding_by_Clements_Engelhardt.jpg": "dandelions in the evening sun",
    "sunset_by_Aitzol_Berasategi.jpg": "sunset over hills",
    "Kleiber_by_Lukas_Baubkus.jpg": "a small bird on the trunk of a tree",
    "Aqua.jpg": "a drop of water falling into water",
    "Blinds.jpg": "a large green leaf from near",
    "Dune.jpg": "tall grass on a dune by the sea",
    "FreshFlower.jpg": "orange petals of a flower",
    "Garden.jpg": "a marigold in a garden",
    "GreenMeadow.jpg": "green grass",
    "LadyBird.jpg": "a ladybug on a blade of grass",
    "RainDrops.jpg": "raindrops on green leaves",
    "Storm.jpg": "dark clouds over a road",
    "TwoWings.jpg": "two dandelion seeds",
    "YellowFlower.jpg": "a yellow flower in the dark",
    "astronaut.png": "a woman in an orange space suit",
    "brick.png": "a brick wall",
    "camera.png": "a man with a camera on a tripod",
    "chelsea.png": "a ginger cat",
    "coffee.png": "a cup of coffee on a saucer",
    "coins.png": "rows of old coins",
    "gravel.png": "gravel",
    "hubble_deep_field.jpg": "galaxies in space",
    "motorcycle_left.png": "a red motorcycle in a garage",
    "page.png": "a printed page of a book",
    "rocket.jpg": "a rocket on its launch pad",
}


def main() -> None:
    """Read the pictures, encode them both ways, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True, help="the folder into which the packages were unpacked")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--write", action="store_true", help="write the result, and its table into docs/results.md")
    arguments = parser.parse_args()
    base = open_base("demo")
    sets = {"stamps": stamps(arguments.pictures), "scenes": scenes(arguments.pictures)}
    found = {name: measure(base, captioned, arguments.seed) for name, captioned in sets.items()}
    if arguments.write:
        save("photographs", {"seed": arguments.seed, "sets": found})
        found = load("photographs")["sets"]
        put("photographs", f"{table(found)}\n\n{note(arguments.seed)}")
    print(table(found))


def stamps(folder: Path) -> dict[str, Path]:
    """Return photographs of single things by caption, the first of each."""
    found: dict[str, Path] = {}
    for path in sorted((folder / "usr/share/tuxpaint/stamps").rglob("*.png")):
        text = path.with_suffix(".txt")
        drawn = DRAWN & set(path.parts) or path.stem in DRAWINGS or path.stem.startswith("t_")
        if drawn or not text.exists():
            continue
        caption = text.read_text(encoding="utf-8").splitlines()[0].strip()
        if len(caption) <= LONGEST:
            found.setdefault(caption, path)
    return found


def scenes(folder: Path) -> dict[str, Path]:
    """Return whole photographs by caption."""
    places = {path.name: path for path in sorted(folder.rglob("*")) if path.name in SCENES and path.is_file()}
    return {caption: places[name] for name, caption in SCENES.items()}


def measure(base: Base, captioned: dict[str, Path], seed: int) -> dict[str, Any]:
    """Return mean recalls with their intervals, with and without the names of classes."""
    texts = base.encode_native(list(captioned)).numpy()
    classes = base.model.image_classes
    result: dict[str, Any] = {"images": len(captioned)}
    for name, used in (("head", None), ("head and class names", classes)):
        base.model.image_classes = used
        vectors = base.encode_images(captioned.values()).numpy()
        report = split_report(vectors, texts, list(range(len(texts))), seed=seed).to_json()
        result[name] = {key: report[key] for key in ("mean_recall", "ci95", "metrics")}
        result["chance"] = report["chance_mean_recall"]
    return result


def table(found: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    rows = []
    for name, one in found.items():
        cells = []
        for way in ("head", "head and class names"):
            low, high = (100 * end for end in one[way]["ci95"])
            cells.append(f"{100 * one[way]['mean_recall']:.1f} ({low:.1f}-{high:.1f})")
        rows.append([f"{name} ({one['images']})", *cells, f"{100 * one['chance']:.1f}"])
    return markdown(["photographs", "head alone", "with class names", "chance"], rows)


def note(seed: int) -> str:
    """Say what the table is of."""
    return (
        "Mean recall in per cent of the demo base's English (R@1, R@5 and R@10, both directions), with 95 % intervals "
        f"of a bootstrap over images; numbers of pictures in brackets, one caption each. Seed {seed}."
    )


if __name__ == "__main__":
    main()
