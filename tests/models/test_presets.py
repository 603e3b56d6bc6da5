"""What `models=` chooses: pinned, and overruled by the narrower choice."""

import pytest

from annotate.config.compose import compose, typed
from annotate.config.settings import ModelsCommand
from annotate.models.layouts import packaged_architecture


@pytest.mark.parametrize(
    ("arguments", "grounder", "segmenter"),
    [
        ([], "IDEA-Research/grounding-dino-base", "facebook/sam2.1-hiera-base-plus"),
        (["models=tiny"], "embedded:tiny/grounder", "embedded:tiny/segmenter"),
        (["models=fast"], "IDEA-Research/grounding-dino-tiny", "facebook/sam2.1-hiera-tiny"),
        (["models=best"], "iSEE-Laboratory/llmdet_large", "facebook/sam2.1-hiera-large"),
        (["models=tiny", "segment=fast"], "embedded:tiny/grounder", "facebook/sam2.1-hiera-tiny"),
        (["segment=fast", "models=tiny"], "embedded:tiny/grounder", "facebook/sam2.1-hiera-tiny"),
        (["models=tiny", "ground.model=a/b"], "a/b", "embedded:tiny/segmenter"),
    ],
)
def test_a_preset_composes_and_the_narrower_choice_wins(
    arguments: list[str], grounder: str, segmenter: str
) -> None:
    config = typed(compose(arguments, "config"), ModelsCommand)
    assert tuple(m.arguments["model"] for m in (config.grounder, config.segmenter)) == (
        grounder,
        segmenter,
    )


@pytest.mark.parametrize("preset", ["fast", "balanced", "best"])
def test_presets_pin_commits_and_use_yamls_that_sam2_ships(preset: str) -> None:
    config = typed(compose([f"models={preset}"], "config"), ModelsCommand)
    for model in (config.grounder, config.segmenter):
        revision = model.arguments["revision"]
        assert len(revision) == 40 and int(revision, 16)
    assert packaged_architecture(config.segmenter.arguments["architecture"])
