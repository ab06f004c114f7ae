"""A pair on a large file is shown as the policy saw it: at that size, with its v' and region."""

from __future__ import annotations

import json

import numpy as np

from medray.config import load_config
from medray.imaging.load import encode_png, file_sha256
from medray.imaging.regions import region_mask
from medray.imaging.view import corrupt_views
from medray.policy.model.chat import ChatCodec
from medray.policy.model.loading import resolve_model_path
from medray.records import Region
from medray.report.pairs import collect_images
from medray.rundir import RunDirectory
from medray.seeds import item_seed


def test_v_is_made_again_at_the_scale_of_the_run(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    small = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    (data / "a.png").write_bytes(encode_png(np.kron(small, np.ones((40, 40, 1), np.uint8))))
    row = {"id": "a", "image": "a.png", "question": "Is there a nodule?", "answer": "Yes"}
    row |= {"split": "train", "regions": [{"label": "nodule", "box": [80, 120, 200, 280]}]}
    rows = [row, row | {"id": "b", "split": "heldout"}]
    (data / "records.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    config_file = tmp_path / "c.yaml"
    config_file.write_text(
        f"data: {{kind: jsonl, path: {data}}}\nrun: {{name: r, output: {tmp_path}/runs}}\n"
    )
    config = load_config(config_file)
    run = RunDirectory(config.run_dir)
    run.create(config)

    codec = ChatCodec(resolve_model_path("phantom/base"))
    view = codec.load_view(str(data / "a.png"))
    regions = view.regions([Region("nodule", box=(80, 120, 200, 280), source="dataset")])
    seed = item_seed(config.run.seed, "a")
    made = corrupt_views(
        [view.pixels], regions, config.corruption, seed=seed, resample=codec.resample
    )
    assert made is not None
    ledger_row = {
        "case_id": "a",
        "image_sha256": file_sha256(data / "a.png"),
        "corrupted_sha256": made.sha256,
        "corruption": made.kind,
        "response": "No",
    }
    (shown,) = collect_images(run.path, [ledger_row])
    assert shown.note == ""
    assert np.array_equal(shown.images[0].image, view.pixels)
    assert np.array_equal(shown.images[0].corrupted, made.images[0].image)
    assert np.array_equal(shown.images[0].region, region_mask(regions, *view.pixels.shape[:2]))
