"""Families of problems: what can be learned of those that are solved again and again."""

from learnmm.families.learned import LearnedMemory, Under
from learnmm.families.learning import LearnSettings, learn
from learnmm.families.report import Counts, Report
from learnmm.families.trial import counted
from learnmm.storage import Pretrained

__all__ = ["Counts", "LearnSettings", "LearnedMemory", "Report", "Under", "counted", "learn"]

WEIGHTS = Pretrained(LearnedMemory.load, lambda config: {"under", "starts"} <= config.keys())
