"""The exam that a language model sits before its edits are used; its questions are exam.yaml."""

from medray.editing.llm.exam.exam import Exam, questions

__all__ = ["Exam", "questions"]
