"""Draw docs/search.png from what the demo finds.

    mla-extend search --queries FILE --language sw --top 6 --json | python docs/make_picture.py

The pictures found are of Microsoft's Fluent Emoji (MIT licence).
"""

import json
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ENGLISH = {
    "mbwa": "dog",
    "tunda jekundu": "red fruit",
    "chombo cha muziki": "musical instrument",
    "gari la polisi": "police car",
    "mnyama wa baharini": "sea animal",
    "kofia ya cowboy": "cowboy hat",
    "chakula cha pizza": "pizza",
    "gari la Toyota": "Toyota car",
}
SIDE, GAP, TEXT = 96, 12, 300


def main() -> None:
    """Draw a row for each query: its words, what they mean, and the images in their order."""
    answers = json.load(sys.stdin)
    most = max(len(answer["hits"]) for answer in answers)
    sheet = Image.new("RGB", (TEXT + most * (SIDE + GAP), len(answers) * (SIDE + GAP) + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for row, answer in enumerate(answers):
        top = GAP + row * (SIDE + GAP)
        draw.text((GAP, top + 18), answer["query"], "black", ImageFont.load_default(26))
        draw.text((GAP, top + 54), ENGLISH.get(answer["query"], ""), "grey", ImageFont.load_default(18))
        for column, hit in enumerate(answer["hits"]):
            found = Image.open(hit["path"]).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            sheet.paste(found, (TEXT + column * (SIDE + GAP), top))
    sheet.quantize(128).save(Path(__file__).parent / "search.png", optimize=True)


if __name__ == "__main__":
    main()
