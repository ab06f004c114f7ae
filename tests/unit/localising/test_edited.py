"""A pair hides what its edited sentences are about."""

from medray.localising import edited_regions
from medray.records import Region, Span

NODULE = Region("nodule", box=(0, 0, 1, 1), source="clipseg", score=0.9)
HEART = Region("heart", box=(2, 2, 3, 3), source="clipseg", score=0.9)
GIVEN = Region("nodule", box=(0, 0, 1, 1))
WRONG = "There is a small nodule in the right lung. The heart is enlarged."
RIGHT = "There is a small nodule in the left lung. The heart is enlarged."


def spans(text: str, *parts: str) -> list[Span]:
    return [Span(text.index(p), text.index(p) + len(p), "side", 1.0, "") for p in parts]


def chosen(regions, answer, edited, other, of_other, question="Describe the image."):
    sides = (answer, spans(answer, *edited)), (other, spans(other, *of_other))
    return edited_regions(regions, question, sides)


def test_only_what_the_edited_sentence_is_about():
    both = (NODULE, HEART)
    assert chosen(both, WRONG, ["right"], RIGHT, ["left"]) == (NODULE,)
    normal = WRONG.replace("enlarged", "normal in size")
    assert chosen(both, WRONG, ["enlarged"], normal, ["normal in size"]) == (HEART,)
    assert chosen(both, WRONG, ["right", "enlarged"], normal, ["right", "normal"]) == both


def test_both_sides_count():
    """A cavity that was a nodule hides the nodule."""
    cavity = WRONG.replace("nodule", "cavity")
    assert chosen((NODULE, HEART), cavity, ["cavity"], WRONG, ["nodule"]) == (NODULE,)


def test_everything_if_the_sentence_names_no_finding():
    assert chosen((NODULE, HEART), "Yes", ["Yes"], "No", ["No"]) == (NODULE, HEART)
    left = chosen((NODULE,), "On the left.", ["left"], "On the right.", ["right"], "Where is it?")
    assert left == (NODULE,)


def test_nothing_if_the_sentence_is_about_something_else():
    """The answer made up a nodule: hiding the heart says nothing about it."""
    clear = "No focal lesion is seen. The heart is enlarged."
    invented = "There is a nodule. The heart is enlarged."
    assert chosen((HEART,), invented, ["nodule"], clear, ["No focal lesion"]) == ()
    assert chosen((GIVEN, HEART), invented, ["nodule"], clear, ["No focal"]) == (GIVEN,)


def test_a_more_general_name_is_the_same_finding():
    general = Region("lesion", box=(0, 0, 1, 1), source="clipseg", score=0.9)
    assert chosen((general, HEART), WRONG, ["right"], RIGHT, ["left"]) == (general,)
    lesion = WRONG.replace("nodule", "lesion")
    other = RIGHT.replace("nodule", "lesion")
    assert chosen((NODULE, HEART), lesion, ["right"], other, ["left"]) == (NODULE,)


def test_regions_of_the_data_stay():
    assert chosen((GIVEN, NODULE, HEART), WRONG, ["enlarged"], WRONG, ["enlarged"]) == (
        GIVEN,
        HEART,
    )
    assert chosen((GIVEN,), WRONG, ["enlarged"], WRONG, ["enlarged"]) == (GIVEN,)
