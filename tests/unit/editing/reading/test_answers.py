"""Answers by the words of their question: echoes, alternatives, options, and the slot rule."""

from __future__ import annotations

import pytest

from medray.editing.reading.choice import alternatives
from medray.editing.reading.facts import facts
from medray.editing.reading.judge import judge
from medray.editing.reading.options import chosen_option, options, stem_of
from medray.editing.reading.slots import SAME_SLOT, slot_of


@pytest.mark.parametrize(
    ("question", "reference", "answer", "expected"),
    [
        ("Was oral contrast administered?", "yes", "Oral contrast was not administered.", "wrong"),
        ("Was oral contrast administered?", "no", "Oral contrast wasn't administered.", "right"),
        ("Is the trachea midline?", "yes", "The trachea appears midline in this image.", "right"),
        ("Is the trachea midline?", "no", "The trachea is midline.", "wrong"),
        ("Is there air in the stomach?", "yes", "There is no air in the stomach.", "wrong"),
        ("Can you see the diaphragm?", "yes", "The diaphragm can be seen.", "right"),
        ("Is the aortic knob prominent?", "no", "The aortic knob is prominent.", "wrong"),
        # an anatomical structure that is seen is no finding
        ("Is the occipital lobe visible?", "no", "The occipital lobe is visible.", "wrong"),
        ("Is the cerebellum seen?", "yes", "Yes, the cerebellum is seen.", "right"),
        ("Does the temporal lobe appear?", "no", "No, it shows the frontal lobe.", "right"),
        ("Is the left kidney seen?", "no", "No, the left kidney is not seen.", "right"),
        ("Are the apices seen?", "yes", "No, the apices are not seen.", "wrong"),
        # not an echo
        ("Is the trachea midline?", "yes", "The trachea may be midline.", "abstain"),
        ("Is the knob wider than the arch?", "yes", "The arch is wider than the knob.", "abstain"),
        ("Is gas seen?", "yes", "No gas is seen below the left arch.", "abstain"),
        ("Is the sulcus deep?", "yes", "The sulcus is only deep on one side.", "abstain"),
        ("Is the sulcus deep?", "yes", "The image shows a deep blue sea.", "abstain"),
        # a normal study answers "is it abnormal?"
        ("Do the lungs look abnormal?", "yes", "The radiograph appears normal.", "wrong"),
        ("Is the brain abnormal?", "no", "The MRI scan is unremarkable.", "right"),
        ("Is the liver normal?", "no", "The CT scan looks normal.", "wrong"),
        ("Are there abnormalities?", "yes", "The image appears to be normal.", "wrong"),
        ("Is anything wrong in the image?", "no", "There is a large mass.", "wrong"),
        ("What diseases are shown?", "Pneumonia", "The lungs are normal and healthy.", "wrong"),
        ("What is abnormal?", "Normal", "There is a pneumothorax.", "wrong"),
        # the finding whose place is asked for is taken for granted
        ("Where is the effusion?", "left", "There is no effusion in this image.", "wrong"),
        ("Where is the pneumonia located?", "right lung", "No pneumonia is seen.", "wrong"),
    ],
)
def test_a_closed_question_in_other_words(
    question: str, reference: str, answer: str, expected: str
) -> None:
    assert judge(answer, facts(question, reference)).verdict == expected


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Is there hypo- or hyperinflation of the lungs?", ("hypoinflation", "hyperinflation")),
        ("Which organ is abnormal, heart or lung?", ("heart", "lung")),
        ("Is this a t1 weighted, t2 weighted, or flair image?", ("t1", "t2", "flair")),
        ("Is the lesion a solid or cystic lesion?", ("solid", "cystic")),
        ("Is the bubble on the patient's right or left side?", ("right", "left")),
        ("Is the abnormality hyper dense or hypo dense?", ("hyper", "hypo")),
        ("Does it show the heart or the kidney or the liver?", ("heart", "kidney", "liver")),
        ("Is this normal?", ()),
        ("Yes or no?", ()),
    ],
)
def test_alternatives_of_a_question(question: str, expected: tuple[str, ...]) -> None:
    assert alternatives(question) == expected


@pytest.mark.parametrize(
    ("question", "reference", "answer", "expected"),
    [
        ("Is the margin smooth or jagged?", "smooth", "The margin is jagged.", "wrong"),
        ("Is the margin smooth or jagged?", "smooth", "The margin is smooth.", "right"),
        ("Is the margin smooth or jagged?", "smooth", "It is not jagged but smooth.", "right"),
        ("Is the margin smooth or jagged?", "smooth", "It is both smooth and jagged.", "abstain"),
        ("Is it hypo- or hyperinflated?", "hyperinflated", "It is hypoinflated.", "wrong"),
        ("Which organ is abnormal, heart or lung?", "lung", "An abnormal heart is seen.", "wrong"),
        ("Which organ is abnormal, heart or lung?", "lung", "The heart is normal.", "abstain"),
    ],
)
def test_an_answer_picks_an_alternative(
    question: str, reference: str, answer: str, expected: str
) -> None:
    assert judge(answer, facts(question, reference)).verdict == expected


CHOICE = "What is shown?\nA. Pneumonia\nB. Pleural effusion\nC. Nodule"


@pytest.mark.parametrize(
    ("question", "letters"),
    [
        (CHOICE, "ABC"),
        ("What is shown? A) Pneumonia B) Effusion", "AB"),
        ("What is shown? (A) Pneumonia (B) Effusion (C) None", "ABC"),
        ("What is shown? a: pneumonia, b: effusion", "AB"),
        ("Is vitamin B. deficiency seen?", ""),
        ("Is there A. a nodule?", ""),
    ],
)
def test_options_of_a_question(question: str, letters: str) -> None:
    assert "".join(option.letter for option in options(question)) == letters


def test_options_without_letters() -> None:
    question = "Which plane? Options: axial, coronal, sagittal"
    assert [option.text for option in options(question)] == ["axial", "coronal", "sagittal"]
    assert stem_of(question) == "Which plane?"


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("(b)", "B"),
        ("**C**", "C"),
        ("B. Pleural effusion", "B"),
        ("The answer is B: pleural effusion", "B"),
        ("The correct option is (A).", "A"),
        ("pneumonia", "A"),
        ("The image shows a pleural effusion.", "B"),
        ("A nodule is seen.", "C"),
        ("B. Nodule", None),
        ("It is not pneumonia.", None),
        ("Pneumonia or a nodule", None),
        ("D", None),
    ],
)
def test_the_option_that_a_text_chooses(text: str, letter: str | None) -> None:
    found = chosen_option(text, options(CHOICE))
    assert (found.letter if found else None) == letter


@pytest.mark.parametrize(
    ("reference", "answer", "expected"),
    [
        ("B", "B", "right"),
        ("B", "The answer is (B).", "right"),
        ("B", "Pleural effusion", "right"),
        ("Pleural effusion", "B", "right"),
        ("B", "A", "wrong"),
        ("B. Pleural effusion", "C. Nodule", "wrong"),
        ("B", "There is a nodule.", "wrong"),
        ("B", "I cannot tell.", "abstain"),
    ],
)
def test_options_are_compared_by_letter_or_text(reference: str, answer: str, expected: str) -> None:
    judgement = judge(answer, facts(CHOICE, reference))
    assert (judgement.verdict, judgement.tier) == (expected, "sure")


@pytest.mark.parametrize(
    ("question", "reference", "answer", "expected"),
    [
        ("What plane is this?", "axial", "This is the plane of a brain.", "wrong"),
        ("What modality is used?", "MRI", "The modality is a helicopter.", "wrong"),
        ("What is the abnormality?", "cavum vergae", "The abnormality is an abscess.", "wrong"),
        ("What is the diagnosis?", "moyamoya", "The diagnosis is an enchondroma.", "wrong"),
        ("What structure is this?", "plicae circulares", "This is the gallbladder.", "wrong"),
        ("What is the abnormality?", "syrinx", "A disc herniation.", "wrong"),
        # the same value in other words, a broader one, or nothing that is sure
        ("What sign is seen?", "halo sign", "The image shows the halo sign.", "right"),
        ("What is the diagnosis?", "moyamoya", "It is moyamoya disease.", "right"),
        ("What is the diagnosis?", "glioblastoma", "A brain tumor.", "right"),
        ("What is the diagnosis?", "moyamoya", "It may be an enchondroma.", "abstain"),
        ("What is the diagnosis?", "moyamoya", "There is inflammation.", "abstain"),
        ("What is the diagnosis?", "moyamoya", "yes", "abstain"),
        ("Why is it dark?", "moyamoya", "Because of an enchondroma.", "abstain"),
        ("What causes this?", "smoking", "An embolism.", "abstain"),
        ("Where is the lesion?", "upper convexity", "In the brain.", "abstain"),
    ],
)
def test_same_slot_other_value(question: str, reference: str, answer: str, expected: str) -> None:
    assert judge(answer, facts(question, reference)).verdict == expected


def test_the_weaker_rule_is_marked_and_can_be_left_out() -> None:
    known = facts("What is the abnormality?", "cavum vergae syndrome")
    assert slot_of(known.question) == "kind"
    known = facts("What is the diagnosis?", "moyamoya")
    weaker = judge("An enchondroma.", known)
    assert (weaker.verdict, weaker.tier) == ("wrong", "slot")
    assert weaker.comparisons[0].attribute == SAME_SLOT
    assert judge("An enchondroma.", known, same_slot=False).reason == "not-comparable"


@pytest.mark.parametrize(
    ("question", "reference", "answer"),
    [
        ("What organ is this?", "large intestine", "This is the colon."),
        ("What organ is this?", "intestines", "The bowel is shown."),
        ("What organ system is imaged?", "gastrointestinal", "The digestive system is imaged."),
        ("What organ system is imaged?", "respiratory", "The organ system is the lungs."),
        ("What is the abnormality?", "collapsed lung", "There is a pneumothorax."),
        ("What is the diagnosis?", "gallstones", "The diagnosis is cholelithiasis."),
        ("What is the finding?", "enlarged heart", "Cardiomegaly."),
        ("Which vessel is it?", "IVC", "It is the inferior vena cava."),
        ("Where is the tip?", "right atrium", "The tip is in the heart."),
        ("What is the mass?", "renal cyst", "A cystic lesion of the kidney."),
        ("What is in the lung?", "nodule", "A coin lesion is in the lung."),
        ("What is in the right lung?", "consolidation", "Pneumonia is seen in the right lung."),
        ("What is the abnormality?", "fluid in the lungs", "There is pulmonary edema."),
        ("What is the abnormality?", "air in the abdomen", "This is pneumoperitoneum."),
        ("What condition is this?", "blocked artery", "This is an embolism."),
        ("What condition is this?", "water on the brain", "The condition is hydrocephalus."),
        ("What is the diagnosis?", "swollen lymph nodes", "Lymphadenopathy."),
        ("What is the diagnosis?", "scarring", "There is fibrosis."),
        ("What is broken?", "broken rib", "A rib fracture is seen."),
        ("What is around the lung?", "fluid", "A pleural effusion is around the lung."),
        ("What is the condition?", "lung infection", "The condition is pneumonia."),
        ("What is the tumor?", "GBM", "The tumor is a glioblastoma."),
        ("What is the lesion?", "AVM", "An arteriovenous malformation."),
        ("Where is the lesion?", "cerebellum", "It is in the posterior fossa."),
        ("Where is the lesion?", "frontal white matter", "In the frontal lobe."),
        ("Where is the air?", "pleural space", "The air is in the right lung."),
        ("What tissue is it?", "adipose tissue", "The tissue is fat."),
        ("What does the dark area show?", "CSF", "It shows cerebrospinal fluid."),
        ("What type of image is this?", "MRI", "This is a T2 weighted image."),
        ("What plane is this?", "transverse", "The plane is axial."),
        ("What modality is this?", "plain film", "The modality is radiography."),
        ("How was this taken?", "XR", "This was taken with an X-ray machine."),
        ("What is the shape?", "round", "The shape is circular."),
        ("What color is it?", "gray", "The color is light grey."),
        ("What is the device?", "port-a-cath", "The device is a mediport."),
        ("What is the device?", "central line", "The device is a PICC."),
        ("What is the abnormality?", "moyamoya", "There is a moya moya pattern."),
        ("What sign is seen?", "double decidual sac sign", "The double decidual sign."),
        ("Is it a cyst or an abscess?", "cyst", "It is a cystic lesion."),
        ("Is the image normal?", "no", "There is an abnormality in the image."),
        ("Is there an effusion?", "yes", "A small amount of pleural fluid is present."),
        ("Is there a fracture?", "no", "The bones are intact without fracture."),
    ],
)
def test_a_right_answer_in_other_words_is_not_called_wrong(
    question: str, reference: str, answer: str
) -> None:
    assert judge(answer, facts(question, reference)).verdict in ("right", "abstain")
