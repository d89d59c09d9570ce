"""What is asked: prompts of five roles, read from anywhere, split without leaks and rendered once."""

from saber.prompts.check import score_answer
from saber.prompts.load import load_prompts
from saber.prompts.prompt import CHECKS, ROLES, Check, Prompt, PromptSet, Role
from saber.prompts.render import ChatTokenizer, encode, render, template_tail
from saber.prompts.split import Split, check_disjoint, split_prompts

__all__ = [
    "CHECKS",
    "ROLES",
    "ChatTokenizer",
    "Check",
    "Prompt",
    "PromptSet",
    "Role",
    "Split",
    "check_disjoint",
    "encode",
    "load_prompts",
    "render",
    "score_answer",
    "split_prompts",
    "template_tail",
]
