"""Cases with several images: the one with the region is corrupted, and pairs hold all of them."""

from dataclasses import replace

import numpy as np
import pytest

from actors.editor import Packer
from actors.editor.actor import Editor
from medray.data.dataset import open_dataset
from medray.imaging.load import load_image
from medray.records import Case, GivenSide, ImageFile, Pair
from tests.support.datasets.phantoms import lesion_report, small_phantoms
from tests.unit.actors.editor.test_editor_actor import CONTEXT, WRONG, respond

RIGHT = "There is a small nodule in the left upper zone. The heart is enlarged."


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    config = small_phantoms(tmp_path_factory.mktemp("data") / "phantoms")
    section = config.editor.model_copy(update={"scope": "answer"})
    return config.model_copy(update={"editor": section})


@pytest.fixture(scope="module")
def editor(config) -> Editor:
    return Editor(config, 0)


@pytest.fixture(scope="module")
def case(config) -> Case:
    """Its lesion is on the second image."""
    own = lesion_report(config, RIGHT)
    other = next(c for c in open_dataset(config.data).train if c.image_sha256 != own.image_sha256)
    return replace(
        own,
        image=other.image,
        image_sha256=other.image_sha256,
        other_images=(ImageFile(own.image, own.image_sha256),),
        regions=tuple(replace(region, image=1) for region in own.regions),
    )


def pair_of(editor: Editor, case: Case):
    images = [load_image(image.path) for image in case.images]
    made, batch = editor.edit(CONTEXT, [case], [respond(editor, case, WRONG)], *images)
    (pair,) = made.results
    assert isinstance(pair, Pair)
    return pair, batch, images


def test_images_are_loaded_once_each_and_regions_keep_theirs(editor, case):
    alone = replace(case, case_id="alone", other_images=(), regions=())
    found, *views = editor.load([case, alone])
    assert [reason for reason, _ in found] == ["", ""]
    assert [region.image for region in found[0][1]] == [1]
    assert len(views) == 2
    lost = replace(case, other_images=(ImageFile("no-such.png"),))
    found, *views = editor.load([lost])
    assert found == [("image-missing", ())]
    assert views == [None, None]


def test_a_region_on_an_image_that_the_case_lacks_drops_the_case_alone(editor, case):
    odd = replace(case, regions=tuple(replace(region, image=2) for region in case.regions))
    ((reason, _),) = editor.load([odd])[0]
    assert reason == "mask-missing"


def test_only_the_image_with_the_region_is_corrupted(editor, case):
    pair, batch, images = pair_of(editor, case)
    (packed,) = batch.pairs
    first, second = (image.sha256 for image in case.images)
    assert packed.image_keys == (first, second)
    assert packed.corrupted_keys == (first, pair.corrupted_sha256)
    assert pair.region_source == "dataset"
    assert pair.corruption.endswith("image=1 at=48x48,48x48/bicubic")
    prompt, pictures = editor.codec.encode(case.question, *images)
    assert np.array_equal(packed.prompt_ids, prompt)
    assert set(batch.pixels) == {first, second, pair.corrupted_sha256}
    for key, picture in zip(packed.image_keys, pictures, strict=True):
        assert np.array_equal(batch.pixels[key], picture)
    assert not np.array_equal(batch.pixels[pair.corrupted_sha256], batch.pixels[second])


def test_with_region_whole_every_image_is_corrupted(config, case):
    section = config.corruption.model_copy(update={"region": "whole"})
    pair, batch, _ = pair_of(Editor(config.model_copy(update={"corruption": section}), 0), case)
    (packed,) = batch.pairs
    assert not set(packed.corrupted_keys) & set(packed.image_keys)
    assert len(set(packed.corrupted_keys)) == 2
    assert pair.corrupted_sha256 not in batch.pixels
    assert pair.region_source == "whole-image"
    assert "image=0,1 " in pair.corruption


def test_a_given_pair_is_packed_with_all_images(config, case):
    packer = Packer(config, 0)
    given = replace(case, given=GivenSide(WRONG))
    images = [load_image(image.path) for image in case.images]
    made, batch = packer.pack(7, ["item"], [given], *images)
    (pair,) = made.results
    assert isinstance(pair, Pair)
    assert len(batch.pairs[0].image_keys) == len(batch.pairs[0].corrupted_keys) == 2
    shown = replace(given, given=GivenSide(WRONG, rejected_image=case.images[1].path))
    made, batch = packer.pack(7, ["item"], [shown], *images)
    (pair,) = made.results
    assert batch.pairs[0].corrupted_keys == (pair.corrupted_sha256, case.images[1].sha256)
