"""Generated stills and clips of coloured shapes with exact visible masks, boxes and identities.

One generator serves the demo, the tests, the benchmarks and the training of the embedded models.
Everything follows from a seed: the same seed gives the same bytes.

Sizes and speeds scale with the shorter side of the image (`unit_px`). Masks are exact: a pixel
belongs to the front-most object that covers at least half of it, and to no other.
Colours are RGB. Points are (x, y) pixels, y down; the centre of the first pixel is (0.5, 0.5).
"""

from annotate.synthetic.canvas import Scene, SceneObject
from annotate.synthetic.clip import Clip, Track
from annotate.synthetic.still import draw_still
from annotate.synthetic.vocabulary import ALL_COMBOS, COLOURS, HELD_OUT, SHAPES, TRAIN_COMBOS, Combo

__all__ = [
    "ALL_COMBOS",
    "COLOURS",
    "HELD_OUT",
    "SHAPES",
    "TRAIN_COMBOS",
    "Clip",
    "Combo",
    "Scene",
    "SceneObject",
    "Track",
    "draw_still",
]
