"""What a chosen sentence of a paragraph must not say, each kind with its sibling."""

from __future__ import annotations

import pytest

from medray.editing.findings import FindingsEditor

REPORT = "Write the report."


def sides(question: str, reference: str, answer: str) -> list[tuple[str, str]]:
    """(chosen, rejected) of every pair of an answer."""
    edit = FindingsEditor().edit(question, reference, answer, seed=0)
    own = [answer[s.start : s.end] for s in edit.sentences]
    pairs = [(s.text, text) for s, text in zip(edit.sentences, own, strict=True)]
    return pairs if edit.verdict == "wrong" else [(a, b) for b, a in pairs]


@pytest.mark.parametrize(
    ("question", "reference", "answer", "never"),
    [
        # a statement that is right beside a yes or no that is wrong is not denied
        (
            "Is the lesion in the middle zone?",
            "No, the lesion is in the upper zone.",
            "Yes, the lesion is in the upper zone.",
            "not in the upper zone",
        ),
        ("Is the mass small?", "No, the mass is large.", "Yes, the mass is large.", "not large"),
        # a broken bone takes its side from no tube and no nodule
        (
            "Which side is the chest tube on?",
            "The chest tube is on the right side.",
            "The chest tube is on the right side. The left clavicle is fractured.",
            "clavicle",
        ),
        (
            REPORT,
            "There is a large nodule in the left lung. The heart is enlarged.",
            "There is a large nodule in the left lung. The right rib is fractured.",
            "rib",
        ),
        # a modifier that the rules do not know, where the reference has another one
        (
            REPORT,
            "There is a small faint nodule in the left upper zone. The heart is enlarged.",
            "There is a small dense nodule in the right upper zone. The heart is enlarged.",
            "dense",
        ),
        (
            "What is seen?",
            "A banded opacity in the left lung.",
            "A wedged opacity in the left lung.",
            "wedged",
        ),
        # one mention of the finding in the reference has the size, the other has the side
        (
            REPORT,
            "There is a small cavity in the left lung. The left upper zone cavity is thick-walled.",
            "There is a large cavity in the right upper zone.",
            "large",
        ),
        # an examination that is advised is no modality of the image
        (
            REPORT,
            "There is a cavity in the left lower zone. The cavity should be followed up with CT.",
            "There is a cavity in the left lower zone. The nodule should be followed up with CT.",
            "followed up",
        ),
        (
            REPORT,
            "The right kidney has a cyst. MRI is recommended.",
            "The right kidney has a cyst. MRI of the spleen is recommended.",
            "recommended",
        ),
        # "any lesion" confirms no kind that the reference does not name
        (
            "Is any lesion seen?",
            "Yes, a small opacity is present in the left middle zone.",
            "Yes, there is a small nodule in the left middle zone.",
            "nodule",
        ),
        # words that no rule reads, and that the reference does not have
        (
            REPORT,
            "Right humeral shaft fracture. The elbow joint is normal.",
            "There is a supracondylar fracture of the left humerus. The elbow joint is normal.",
            "supracondylar",
        ),
        (
            REPORT,
            "There is a mass in the pancreas. No free fluid.",
            "There is a mass in the gallbladder. No free fluid.",
            "gallbladder",
        ),
        # what only one side of a comparison names
        (
            REPORT,
            "There is a solid nodule in the left lobe. The right lobe is homogeneous.",
            "There is a solid nodule in the right lobe. The left lobe is homogeneous.",
            "nodule in the right",
        ),
        # a clear lung says nothing of the other one
        (
            REPORT,
            "Large left pleural effusion. The right lung is clear.",
            "There is a large right pleural effusion with adjacent atelectasis.",
            "without",
        ),
        # a denial of a part is none of the whole
        (REPORT, "No large effusion. No overt edema.", "There is a small effusion.", "no "),
        (REPORT, "No large effusion. Normal heart.", "No effusion is seen.", "No effusion"),
        (
            REPORT,
            "A nodule with microcalcifications in the left breast. The right breast is normal.",
            "There is a nodule in the right breast without calcifications.",
            "without",
        ),
        # a denial keeps no adjective before its "no", and none of degree or shape behind it
        (REPORT, "The heart is normal. Clear lungs.", "Stable cardiomegaly.", "Stable"),
        (REPORT, "No fracture. Clear lungs.", "There is a comminuted fracture.", "comminuted"),
        (REPORT, "No effusion. Normal heart.", "Small right effusion.", "small"),
        # what is joined to a word by "and" takes no other word
        (
            "What is abnormal?",
            "Cardiomegaly",
            "The heart is normal in size and configuration.",
            "and configuration",
        ),
        ("Which lung?", "Both lungs", "The mass is in the right lung only.", "bilateral lung"),
        # a line of words that are fine with nothing becomes no line with something
        (
            REPORT,
            "Thrombus in the right popliteal vein. No cyst.",
            "The right femoral and popliteal veins are patent with no thrombus.",
            "with a thrombus",
        ),
        # nothing is said of what no rule reads, in a denial either
        (
            REPORT,
            "Large pericardial effusion with collapse of the right ventricle. No vegetation.",
            "There is a small pericardial effusion without tamponade.",
            "tamponade",
        ),
        # another subject, or more than one
        (
            REPORT,
            "Small right effusion. The left lung remains clear.",
            "The right costophrenic angle is sharp.",
            "remains",
        ),
        (
            REPORT,
            "Left lower lobe mass and left hilar adenopathy. No effusion.",
            "A mass is visible in the right lower lobe with irregular margins.",
            "adenopathy",
        ),
        ("Is the trachea midline?", "Yes", "The trachea is deviated to the right side.", "side"),
        ("What is seen?", "Pneumomediastinum", "There is no pneumomediastinum.", "a pneumo"),
        (
            REPORT,
            "Small left pleural effusion. Normal heart.",
            "Small bilateral pleural effusions.",
            "left pleural effusions",
        ),
        (
            REPORT,
            "No cardiomegaly. Clear lungs.",
            "Moderate cardiomegaly with no edema.",
            "with no",
        ),
        # what the reference confirms is not lost with what it contradicts
        (
            REPORT,
            "Normal heart. The aorta is calcified.",
            "The heart is enlarged with calcification of the aorta.",
            "heart is normal.",
        ),
        (
            REPORT,
            "Left-sided effusion larger than the right-sided one. Normal heart.",
            "Bilateral effusions, right greater than left.",
            "left greater than left",
        ),
        # a denial that nothing confirms, of what another word of the reference contains
        (
            REPORT,
            "Large left infarct with hemorrhagic change. No herniation.",
            "There is a small right infarct without hemorrhage.",
            "without",
        ),
        (REPORT, "No evidence of edema. Normal heart.", "There is evidence of mild edema.", "mild"),
        # a place that is right confirms nothing else of a thing that no rule reads
        (
            "Interpret this CT of the heart.",
            "Severe plaque in the left circumflex artery. The right coronary artery is normal.",
            "The left circumflex artery is normal.",
            "normal",
        ),
        # a side that is normal, behind words that put something there
        (
            REPORT,
            "Right upper lobe atelectasis. The left lung is normally aerated.",
            "There is left upper lobe atelectasis. The right lung is normally aerated.",
            "left lung is normal",
        ),
        (
            REPORT,
            "No infiltrates. Normal heart.",
            "The lungs show bilateral infiltrates.",
            "not show bilateral",
        ),
        (
            REPORT,
            "Left-sided pacer is unchanged. Normal heart.",
            "A right-sided pacemaker is in place.",
            "unchanged",
        ),
        # one of a range is not the range
        (
            REPORT,
            "Small to moderate right effusion. Normal heart.",
            "There is a large right effusion.",
            "a small right",
        ),
        # clear lungs beside what the reference finds, and an answer that the prefix gave
        (
            "Are there abnormalities?",
            "Yes, the X-ray shows an infiltrate.",
            "The X-ray shows no abnormalities; no infiltrates, and the lungs are fully clear.",
            "clear",
        ),
        # "with" behind "consistent" takes no "without", and a preposition no "no"
        (
            REPORT,
            "No pneumonia. Normal heart.",
            "Findings are consistent with pneumonia. The heart is normal.",
            "consistent without",
        ),
        (
            REPORT,
            "The left heart border is obscured but no consolidation. No effusion.",
            "The left heart border is obscured by a lingular consolidation.",
            "by no",
        ),
        # what was removed is not denied
        (
            REPORT,
            "No effusion after removal of the left chest tube. Normal heart.",
            "A small left effusion is seen after removal of the left chest tube.",
            "no chest tube",
        ),
        # a phrase is no sentence
        (
            "Which kidney is abnormal, and why?",
            "The left kidney, because of a large cyst in the upper pole.",
            "The right kidney is abnormal because of a large cyst in the lower pole.",
            "left kidney, because",
        ),
        # what is said of both kidneys is not said of the cyst in one
        (
            REPORT,
            "Bilateral echogenic kidneys with renal disease. A cyst in the right kidney.",
            "There is a cyst in the left kidney.",
            "both",
        ),
        # a word that the reference has only in a denial is no word for an assertion
        (
            REPORT,
            "Subretinal fluid. No intraretinal cysts.",
            "There is intraretinal fluid with multiple cysts.",
            "intraretinal fluid",
        ),
        # the collection's side and shape are not its reading's
        (
            REPORT,
            "A biconvex collection over the left lobe, suggesting epidural hematoma. No shift.",
            "A crescentic collection over the right lobe, suggesting subdural hematoma.",
            "crescentic",
        ),
        (REPORT, "Soft tissue swelling. No fracture.", "There is no swelling.", "a swelling"),
        # another degree, in words of another attribute
        (
            REPORT,
            "Lesion in the left parietal lobe with marked edema. No shift.",
            "There is a lesion in the right parietal lobe with minimal edema.",
            "minimal",
        ),
        # one name for everything
        (
            "Is the opacity in the left lung consistent with pneumonia or a mass?",
            "Mass",
            "The opacity in the left lung is consistent with pneumonia, given air bronchograms.",
            "mass in the left lung is consistent with a mass",
        ),
        # "no large effusion" does not contradict a moderate one
        (
            REPORT,
            "No pneumothorax or large effusion. Normal heart.",
            "There is a moderate effusion on the right.",
            "large",
        ),
        # what the reference denies is not what it finds
        (
            REPORT,
            "Osteopenia with an old L2 compression fracture. No acute fracture.",
            "There is osteopenia with an acute L2 compression fracture.",
            "acute L2",
        ),
        # a thing that the prefix calls normal
        (
            REPORT,
            "The pancreas is enlarged with peripancreatic stranding. No necrosis.",
            "The pancreas is normal in appearance. No peripancreatic stranding.",
            "pancreas is enlarged with",
        ),
        # two kidneys of which each has a size are no kidneys on both sides
        (
            REPORT,
            "Right kidney 10 cm, left kidney 11 cm. No stones.",
            "Right kidney: 10 cm. No stones.",
            "left kidney",
        ),
    ],
)
def test_a_chosen_sentence_does_not_say(question, reference, answer, never):
    assert [chosen for chosen, _ in sides(question, reference, answer) if never in chosen] == []


@pytest.mark.parametrize(
    ("reference", "answer", "chosen"),
    [
        (
            "There is a small dense nodule in the left upper zone. The heart is enlarged.",
            "There is a small dense nodule in the right upper zone. The heart is enlarged.",
            "There is a small dense nodule in the left upper zone.",
        ),
        (
            "The heart is enlarged. The left clavicle is fractured.",
            "The heart is enlarged. The right clavicle is fractured.",
            "The left clavicle is fractured.",
        ),
        (
            "Left lower lobe collapse. Stable right hilar mass.",
            "Right middle lobe collapse. Stable right hilar mass.",
            "Left lower lobe collapse.",
        ),
        (
            "The heart is normal. No effusion.",
            "Moderate cardiomegaly. No effusion.",
            "No cardiomegaly.",
        ),
        (
            "No fracture. Normal heart.",
            "There is a nondisplaced fracture of the radius.",
            "There is no fracture of the radius.",
        ),
        ("No effusion. Normal heart.", "Small right effusion.", "No right effusion."),
        (
            "Small to moderate right effusion. Normal heart.",
            "There is a large right effusion.",
            "There is a small to moderate right effusion.",
        ),
        (
            "No acute infiltrate, normal heart size, no effusion, small nodule in the right apex.",
            "Normal heart size, no effusion, small nodule in the left apex.",
            "Normal heart size, no effusion, small nodule in the right apex.",
        ),
        (
            "The nodules are in both lungs. No effusion.",
            "The nodules are located only in the left lung. No effusion.",
            "The nodules are located in both lungs.",
        ),
    ],
)
def test_what_is_sure_is_corrected_as_before(reference, answer, chosen):
    assert chosen in [side for side, _ in sides(REPORT, reference, answer)]
