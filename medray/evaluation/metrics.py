"""Metrics of the answers of one checkpoint, and comparisons of two, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medray.editing.language.english import LONGEST, endless, is_english, too_long
from medray.editing.language.markup import final_text
from medray.editing.reading.facts import facts
from medray.editing.reading.judge import judge
from medray.editing.reading.options import stem_of
from medray.evaluation import chests, reading
from medray.evaluation.answers import AnswerRow, cluster_of
from medray.evaluation.figures import calibration, claim_overlap, errors
from medray.evaluation.figures.texts import OVERLAP_FIGURES, word_overlap
from medray.evaluation.resampling import differences, intervals, plain
from medray.evaluation.sums import Figure, SumTable, number, ratio, sum_table
from medray.records import Case
from medray.targeting.visual_classes import visual_class

RATES = (
    *("report_exact", "closed_accuracy", "choice_accuracy", "open_recall"),
    *("hallucination_rate", "finding_f1"),
)
LOWER_IS_BETTER = ("hallucination_rate", "omission_rate")  # of the figures compared
WORDED = ("open", "report")  # answers whose words are compared with the reference's
_RATIOS = (
    ratio("report_exact", "exact/right", "exact/reports"),
    ratio("closed_accuracy", "closed/right", "closed/answers"),
    ratio("choice_accuracy", "choice/right", "choice/answers"),
    ratio("open_recall", "recall/sum", "recall/answers"),
    ratio("finding_f1", "findings/hits", "findings/both"),
    ratio("unread", "unread/sum", "unread/sentences"),
)


def evaluate(
    cases: Sequence[Case],
    answers: Mapping[str, str],
    *,
    confidences: Mapping[str, float] | None = None,
) -> dict[str, object]:
    """All metrics of the cases that have an answer (by case_id); None if a metric does not apply.

    Only the final answer counts, not the thoughts before it; without one an answer is empty.
    `confidences`: of yes/no answers, by case_id, in [0, 1]. docs/evaluation.md defines all of them.

    n                   distinct studies (images)
    answers             answers evaluated, and how many of each answer type in `n_by`
    report_exact        share of reports with known truth that assert it all and nothing else
    closed_accuracy     share of closed answers whose first yes/no is the reference's
    choice_accuracy     share of multiple-choice answers that choose the reference's option
    open_recall         mean share of the reference's words that the open answers contain
    bleu_1 … meteor     words of open answers and reports (figures/texts.py)
    hallucination_rate  contradicted attributes / asserted attributes, over all answers
    … _error_rate, severity_weighted_errors  (figures/errors.py)
    claim_…, omission_rate                   (figures/claim_overlap.py)
    calibration_error, brier                 (figures/calibration.py)
    finding_f1          micro F1 of the findings positively asserted in reports
    unread              share of the sentences about phantoms in paragraphs that are out of grammar
    by_error_type       {type: {"asserted": …, "contradicted": …, "rate": …}}
    omissions_by_error_type  {type: {"known": …, "omitted": …, "rate": …}}
    by_visual_class     {class: {"asked": …, "wrong": …, "rate": …}}: closed and multiple-choice
                        questions, by what must be seen (targeting/visual_classes.py)
    intervals           {name: [low, high]}: 95 %, bootstrap over images, or patients where known
    notes               figures that cannot be computed here, and why
    """
    rows = score_answers(cases, answers, confidences=confidences)
    return summarise(rows)


def score_answers(
    cases: Sequence[Case],
    answers: Mapping[str, str],
    *,
    confidences: Mapping[str, float] | None = None,
) -> list[AnswerRow]:
    """One row per case that has an answer, in the order of the cases."""
    known = confidences or {}
    return [
        _row(case, answers[case.case_id], known.get(case.case_id))
        for case in cases
        if case.case_id in answers
    ]


def summarise(rows: Sequence[AnswerRow], more: Sequence[Figure] = ()) -> dict[str, object]:
    """All metrics of scored answers, as `evaluate` describes them, and `more`."""
    statistics = [row.statistics for row in rows]
    clusters = sum_table(statistics, [cluster_of(row.case) for row in rows])
    types = [row.case.answer_type for row in rows]
    figures = [*_figures(), *more, *_type_figures(clusters)]
    return {
        "n": len({row.case.image_sha256 or row.case.image for row in rows}),
        "answers": len(rows),
        "n_by": {kind: types.count(kind) for kind in dict.fromkeys(types)},
        **dict.fromkeys(OVERLAP_FIGURES),
        **{figure.name: clusters.value(figure) for figure in (*_figures(), *more)},
        **{place: _by_type(clusters, *names) for place, names in _TABLES.items()},
        "clusters": len(clusters.rows),
        "intervals": intervals(figures, clusters),
        "notes": [*word_overlap().notes, *_too_long(rows)],
    }


def compare(
    ours: Sequence[AnswerRow], theirs: Sequence[AnswerRow], more: Sequence[Figure] = ()
) -> dict[str, object]:
    """Paired comparison on the cases that both have answered; ours minus theirs.

    cases       how many those are
    difference  {name: {"value": …, "low": …, "high": …, "p": …}}
    """
    other = {row.case.case_id: row for row in theirs}
    pairs = [(row, other[row.case.case_id]) for row in ours if row.case.case_id in other]
    keys = [cluster_of(row.case) for row, _ in pairs]
    names = list(dict.fromkeys(n for pair in pairs for row in pair for n in row.statistics))
    left, right = (
        sum_table([pair[side].statistics for pair in pairs], keys, names=names) for side in (0, 1)
    )
    figures = [*_figures(), *more, *_type_figures(left)]
    found = differences(figures, left, right)
    return {
        "cases": len(pairs),
        "difference": {name: plain(difference) for name, difference in found.items()},
    }


def answer_scores(
    rows: Sequence[AnswerRow], more: Sequence[Figure] = ()
) -> dict[str, list[float | None]]:
    """Every figure of each answer alone, and `more`, in the order of the rows; None where it does
    not apply."""
    table = sum_table([row.statistics for row in rows])
    figures = (*_figures(), *more)
    values = {figure.name: table.values(figure, table.rows) for figure in figures}
    return {name: [number(value) for value in column] for name, column in values.items()}


def _figures() -> tuple[Figure, ...]:
    own = (*_RATIOS, *errors.FIGURES, *claim_overlap.FIGURES, *calibration.FIGURES)
    return (*own, *word_overlap().figures)


# Tables by type: their place in the result → statistics (above, below)
_TABLES = {
    "by_error_type": ("contradicted", "asserted"),
    "omissions_by_error_type": ("omitted", "known"),
    "by_visual_class": ("wrong", "asked"),
}


def _by_type(table: SumTable, above: str, below: str) -> dict[str, dict[str, float]]:
    """{type: {below: …, above: …, "rate": …}} for the types that occur."""
    sums = table.rows.sum(axis=0)
    counts = {name: int(sums[index]) for name, index in table.columns.items()}
    types = sorted(n.removeprefix(f"{below}/") for n in counts if n.startswith(f"{below}/"))
    result: dict[str, dict[str, float]] = {}
    for kind in types:
        part, total = counts.get(f"{above}/{kind}", 0), counts[f"{below}/{kind}"]
        result[kind] = {below: total, above: part, "rate": part / total}
    return result


def _type_figures(table: SumTable) -> list[Figure]:
    """The rates of the tables by type, named by their place in the result."""
    result = []
    for place, (above, below) in _TABLES.items():
        kinds = [n.removeprefix(f"{below}/") for n in table.columns if n.startswith(f"{below}/")]
        result += [
            ratio(f"{place}.{kind}", f"{above}/{kind}", f"{below}/{kind}") for kind in sorted(kinds)
        ]
    return result


def _row(case: Case, answer: str, confidence: float | None) -> AnswerRow:
    """Only the final answer counts; without one it is empty, and so is one that is too long. Of an
    endless one only the words count. An answer counts in no figure if its question or its reference
    cannot be read for its length."""
    texts = case.question, case.reference
    if too_long(*texts) or endless(*texts):
        return AnswerRow(case, answer, "abstain", {}, confidence)
    final = "" if too_long(answer) else final_text(answer)
    stated = "" if endless(final) else final
    verdict = judge(stated, facts(*texts)).verdict
    statistics = {**_read(case, stated), **_by_type_of_answer(case, final, stated)}
    if confidence is not None and case.answer_type == "closed":
        right = bool(statistics["closed/right"])
        statistics |= calibration.calibration(confidence, right=right)
    return AnswerRow(case, answer, verdict, statistics, confidence)


def _too_long(rows: Sequence[AnswerRow]) -> list[str]:
    texts = [(row.case.question, row.case.reference) for row in rows]
    cases = sum(too_long(*each) or endless(*each) for each in texts)
    answers = sum(too_long(row.answer) for row in rows)
    sentences = sum(endless(row.answer) and not too_long(row.answer) for row in rows)
    notes = {
        f"{answers} answers of more than {LONGEST:,} characters count as empty": answers,
        f"in {sentences} answers with a sentence without an end no claim is read": sentences,
        f"{cases} cases with a question or a reference so long count in no figure": cases,
    }
    return [note for note, count in notes.items() if count]


def _read(case: Case, answer: str) -> dict[str, float]:
    """Statistics of what the answer asserts; nothing is read in another language than English."""
    asserted = reading.assertions(case, answer)
    statistics = errors.error_statistics(asserted)
    if all(map(is_english, (case.question, case.reference, answer))):
        statistics |= claim_overlap.claim_overlap(case.question, case.reference, answer)
    if case.answer_type == "report" and case.truth:
        exact = reading.is_exact(case, asserted)
        statistics |= {"exact/right": float(exact), "exact/reports": 1.0}
    if chests.is_chest(case):
        unread = chests.unread(case, answer)
        statistics |= {"unread/sum": sum(unread), "unread/sentences": float(len(unread))}
    return statistics


def _by_type_of_answer(case: Case, answer: str, stated: str) -> dict[str, float]:
    """Statistics that only answers of one type have. `stated`: that in which claims are read."""
    statistics: dict[str, float] = {}
    if case.answer_type == "report":
        hits, both = reading.finding_counts(case, stated)
        statistics |= {"findings/hits": hits, "findings/both": both}
    elif case.answer_type == "closed":
        right = reading.is_right_word(case, answer)
        statistics |= {"closed/right": float(right), "closed/answers": 1.0}
        statistics |= _by_class(case, right=right)
    elif case.answer_type == "choice":
        right = reading.is_right_choice(case, answer)
        statistics |= {"choice/right": float(right), "choice/answers": 1.0}
        statistics |= _by_class(case, right=right)
    else:
        recall = reading.word_recall(case.reference, answer)
        statistics |= {"recall/sum": recall, "recall/answers": 1.0}
    if case.answer_type in WORDED:
        statistics |= word_overlap().statistics(case.reference, answer)
    return statistics


def _by_class(case: Case, *, right: bool) -> dict[str, float]:
    """What had to be seen to answer, and whether the answer is wrong."""
    name = visual_class(stem_of(case.question))
    return {f"asked/{name}": 1.0, f"wrong/{name}": float(not right)}


def compare_table(
    before: Mapping[str, object], after: Mapping[str, object]
) -> list[tuple[str, float | None, float | None]]:
    """Rows (name, before, after): the rates, and the contradicted share by error type."""
    rows = [(name, _number(before.get(name)), _number(after.get(name))) for name in RATES]
    shares = [_shares(result) for result in (before, after)]
    for kind in sorted({*shares[0], *shares[1]}):
        rows.append((f"wrong {kind}", shares[0].get(kind), shares[1].get(kind)))
    return rows


def _shares(result: Mapping[str, object]) -> dict[str, float]:
    table = result.get("by_error_type")
    if not isinstance(table, Mapping):
        return {}
    return {str(kind): float(counts["rate"]) for kind, counts in table.items()}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
