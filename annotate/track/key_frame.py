"""A key frame: the tracks that memory carried there are settled with what was found."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from annotate.models.transfer import indices, to_host
from annotate.segment.base import Prediction
from annotate.track import matching
from annotate.track.backfill import Seeds
from annotate.track.live_tracks import LiveTracks, Memories
from annotate.track.matching import Missing, Objects
from annotate.track.observations import GRID, Carried, Found, of_rows, on_grid
from annotate.track.prompts import seed
from annotate.track.sightings import TrackedFrame
from annotate.track.tracks import Floats, seen_side_by_side


@dataclass(frozen=True, slots=True)
class _Confirmed:
    """What detections say of the tracks that they overlap."""

    matched: dict[int, int]  # track id -> row of its detection
    drifted: dict[int, int]  # those of them to be anchored anew
    sure: set[int]  # tracks whose detection could have given birth to one
    said: Prediction  # of memory, with the masks of detections where these are better


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """Who is who is decided by the functions of `matching`; here it is carried out."""

    live: LiveTracks
    result: TrackedFrame  # its sightings are filled in
    embedding: Any  # as the segmenter makes it
    carried: Carried
    found: Found
    every: int  # frames from one key frame to the next

    def resolve(self) -> Seeds:
        """Pair tracks with detections, the optimal way, and deal with the rest."""
        live, ids = self.live, self.carried.ids
        confirmed = self._confirm()
        matched = confirmed.matched
        returned = self._find_again(matched)
        self._miss(matched.keys() | returned.keys())
        born, weak = self._give_birth({*matched.values(), *returned.values()})
        anchored = confirmed.drifted | returned | born  # track id -> detection that prompts it
        going_on = [row for row, i in enumerate(ids) if i not in anchored]
        said = of_rows(confirmed.said, going_on)
        told = live.remember(self.embedding, [ids[row] for row in going_on], said)
        self._resolve_duplicates(matched.keys())
        seeded = self._anchor({i: row for i, row in anchored.items() if i in live.alive})
        self._note_weak(weak)
        tellers = {*confirmed.sure, *returned, *born} & live.alive.keys()
        memories = [held for held in (told, seeded) if held is not None]
        return Seeds(memories, tellers, set(born), set(returned))

    def _confirm(self) -> _Confirmed:
        """A track and a detection that overlap are the same object."""
        live, carried, found = self.live, self.carried, self.found
        rows, columns, iou = self._pair()
        ids = [carried.ids[row] for row in rows]
        sure = found.scores[columns] >= live.rules.birth_score
        drifted, replaced = matching.corrections(
            iou, found.ious[columns], carried.ious[rows], sure, live.rules, every=self.every
        )
        replaced |= found.are_given[columns]
        source = list(range(len(carried.ids)))  # of each track's mask: memory's, then those found
        for n, (track_id, row, column) in enumerate(zip(ids, rows, columns, strict=True)):
            live.hit(track_id, found, column)
            better = found.logits[column] if replaced[n] else carried.logits[row]
            if replaced[n]:
                source[row] = len(source) + column
            score = max(float(found.ious[column]), float(carried.ious[row]))
            self.result.sightings[track_id] = found.sighting(column, track_id, better, score)
        seen_side_by_side([live.alive[ids[n]] for n in np.flatnonzero(sure)])
        said = carried.said
        if replaced.any() and live.memory.remembers:
            index = indices(tuple(source), said.logits.device)
            both = torch.cat([said.logits, found.on_device])
            said = replace(said, logits=both.index_select(0, index))
        return _Confirmed(
            matched=dict(zip(ids, columns, strict=True)),
            drifted={ids[n]: columns[n] for n in np.flatnonzero(drifted)},
            sure={ids[n] for n in np.flatnonzero(sure)},
            said=said,
        )

    def _pair(self) -> tuple[list[int], list[int], Floats]:
        """Rows of tracks, of their detections, and the IoU (m,) of memory's masks with these."""
        live, carried = self.live, self.carried
        tracks = [live.alive[i] for i in carried.ids]
        expected = live.expected_masks(carried.ids, self.result.frame.size_hw)
        pairs, iou = matching.pair(
            Objects(carried.masks, live.class_ids(carried.ids)),
            expected.reshape(-1, GRID * GRID),
            np.array([live.time - track.placed - 1 for track in tracks], int),
            self.found.objects,
            self.found.scores,
            live.rules,
        )
        rows, columns = [row for row, _ in pairs], [column for _, column in pairs]
        return rows, columns, iou[rows, columns]

    def _find_again(self, matched: dict[int, int]) -> dict[int, int]:
        """Tracks that the detections overlap nowhere, found again near where they should be."""
        live, found = self.live, self.found
        missing = [i for i in live.alive if i not in matched]
        taken = list(matched.values())
        held = Objects(found.masks[taken], found.class_ids[taken])
        # A detector may find one object twice; the second find is nobody else's.
        new = matching.strangers(found.objects, held, set(taken), live.rules)
        free = np.array([c for c in new if found.scores[c] >= live.rules.birth_score], int)
        if not missing or not len(free):
            return {}
        pairs = matching.find_again(
            self._where_they_should_be(missing),
            found.mask_boxes[free],
            found.class_ids[free],
            live.rules,
        )
        returned = {missing[row]: int(free[column]) for row, column in pairs}
        for track_id, column in returned.items():
            live.bank.forget_moments(track_id)
            live.hit(track_id, found, column)
        return returned

    def _where_they_should_be(self, ids: list[int]) -> Missing:
        tracks = [self.live.alive[i] for i in ids]
        time, drawn = self.live.time, set(np.array(self.carried.ids)[self.carried.shown].tolist())
        h, w = self.result.frame.size_hw
        return Missing(
            centres=np.stack([track.expected_at(time) for track in tracks]).clip(0, [w, h]),
            sizes=matching.sizes(np.stack([track.box for track in tracks])),
            class_ids=self.live.class_ids(ids),
            unseen=np.array([time - track.placed for track in tracks]),
            drawn=np.array([i in drawn for i in ids]),
        )

    def _miss(self, detected: Set[int]) -> None:
        """Tracks that no detection shows stay where memory draws them, for a while."""
        live, shown = self.live, self.carried.shown
        for row, track_id in enumerate(self.carried.ids):
            if track_id in detected:
                continue
            track = live.alive[track_id]
            track.miss(live.time, live.rules.max_misses)
            # Shown, but not `see`n: memory may draw what is gone somewhere else, and a wrong
            # place would mislead the search for it.
            if shown[row] and not track.lost:
                track.last_seen = live.time
                self.result.sightings[track_id] = self.carried.sighting(row, "propagated")

    def _give_birth(self, taken: set[int]) -> tuple[dict[int, int], dict[int, int]]:
        """New tracks for sure detections of what no track holds, and the weak ones of the rest.

        Detections by track; `taken` are those of tracks.
        """
        live, carried, found = self.live, self.carried, self.found
        rows = [row for row, i in enumerate(carried.ids) if i in self.result.sightings]
        in_sight = Objects(carried.masks[rows], live.class_ids([carried.ids[r] for r in rows]))
        known = sorted(taken)
        held = in_sight.joined(Objects(found.masks[known], found.class_ids[known]))
        columns = matching.strangers(found.objects, held, taken, live.rules)
        sure = [c for c in columns if found.scores[c] >= live.rules.birth_score]
        born = {live.birth(found, column): column for column in sure}
        weak = [c for c in columns if c not in sure]
        return born, live.follow_weak(found, weak, born, self.result.frame.size_hw)

    def _note_weak(self, weak: dict[int, int]) -> None:
        """What was found weakly, as its detections show it."""
        found = self.found
        for track_id, column in weak.items():
            score = float(found.ious[column])
            self.result.sightings[track_id] = found.sighting(
                column, track_id, found.logits[column], score
            )

    def _resolve_duplicates(self, matched: Set[int]) -> None:
        """Let one of two tracks go that lie on one object, unless both were detected."""
        live, sightings = self.live, self.result.sightings
        ids = sorted(i for i in sightings if i in live.alive)
        if len(ids) < 2:
            return
        tracks = [live.alive[i] for i in ids]
        masks, _ = on_grid(torch.stack([sightings[i].logits for i in ids]), (GRID, GRID))
        iou, _ = matching.overlaps(masks, masks)
        for stays, goes, merged in matching.duplicates(
            iou,
            np.array([i in matched for i in ids]),
            np.array([[other in track.beside for other in ids] for track in tracks]),
            np.array([sightings[i].mask_score for i in ids]),
            live.rules,
        ):
            del sightings[ids[goes]]
            if merged:
                tracks[goes].merged_into = ids[stays]
                tracks[stays].absorb(tracks[goes])
                live.end(ids[goes])

    def _anchor(self, anchored: dict[int, int]) -> Memories | None:
        """Prompt tracks with their detections; how they are remembered."""
        if not anchored:
            return None
        live, found, columns = self.live, self.found, list(anchored.values())
        boxes = found.boxes[columns]
        logits = found.on_device.index_select(0, indices(tuple(columns), found.on_device.device))
        seeded = seed(live.memory, self.embedding, boxes, logits, live.rules.prompt)
        (drawn,) = to_host(seeded.logits)
        for row, (track_id, column) in enumerate(anchored.items()):
            score = float(found.ious[column])
            self.result.sightings[track_id] = found.sighting(column, track_id, drawn[row], score)
        return live.anchor(self.embedding, list(anchored), seeded, afresh=self.every > 1)
