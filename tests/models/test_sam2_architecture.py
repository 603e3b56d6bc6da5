"""A yaml builds nothing but SAM 2, and leaves Hydra to others."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from annotate.config.shipped import conf_dir
from annotate.models import sam2_architecture
from annotate.models.sam2_checkpoint import load_sam2
from tests.models.damaged import CPU, TINY, refusal, segmenter, segmenter_folder


@pytest.mark.parametrize(
    "node",
    [
        "{_target_: pathlib.Path.touch, self: {_target_: pathlib.Path, _args_: [CANARY]}}",
        "{_target_: sam2.build_sam.os.system, command: touch CANARY}",
        "{_target_: sam2.modeling.sam2_base.torch.load, f: CANARY}",
        "{_target_: torch.nn.Linear, in_features: 1, out_features: 1}",
        "{_target_: sam2.sam2_video_predictor.SAM2VideoPredictor}",
        "{weights_path: CANARY}",
        "'${oc.env:HOME}'",
    ],
)
def test_a_yaml_calls_nothing_but_modules_of_sam2(tmp_path: Path, node: str) -> None:
    folder = segmenter_folder(tmp_path)
    canary = tmp_path / "canary"
    yaml = folder / "sam2.1_tiny.yaml"
    text = yaml.read_text().replace("num_maskmem: 7", f"num_maskmem: {node}")
    yaml.write_text(text.replace("CANARY", str(canary)))
    assert "refused" in refusal(load_sam2, segmenter(folder), CPU)
    assert not canary.exists()


def test_building_leaves_the_hydra_of_an_application_alone() -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        mine = GlobalHydra.instance().hydra
        sam2_architecture.build(TINY / "segmenter" / "sam2.1_tiny.yaml")
        assert GlobalHydra.instance().hydra is mine


def test_importing_sam2_leaves_hydra_free_for_a_notebook() -> None:
    """In a process of its own: the package sam2 takes Hydra when it is first imported."""
    program = """
        from hydra.core.global_hydra import GlobalHydra
        from annotate.models.sam2_architecture import import_sam2
        import_sam2()
        import sam2
        assert not GlobalHydra.instance().is_initialized()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=120)
