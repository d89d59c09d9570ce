"""Which mode reads each writer's input: the base's inputs are captured when the first plan is compiled."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from saber.ablation.edit import LowRankEdit
from saber.ablation.reader import InputMap, InputMode, Inputs, input_map
from saber.ablation.separable import SEPARABLE, choose_mode
from saber.config import RunConfig
from saber.errors import ProbeError
from saber.model.anatomy import Anatomy, Writer
from saber.model.generate import Answer, tail_length
from saber.model.load import ChatModel
from saber.model.weights import held
from saber.probe.inputs import WriterInputs, capture_inputs
from saber.prompts.prompt import Prompt, Role
from saber.prompts.render import encode
from saber.spectrum.select import depth_window
from saber.watch import Watch

HELD = 1 << 30
"""Bytes of captured inputs that are held at once; a model with more is read in groups of writers."""
_SAMPLES = 4
"""Most sampled tokens of each preserved message, and of each answer."""


@dataclass(frozen=True)
class Asked:
    """Prompts of one role.

    Attributes:
        prompts: What is asked.
        answers: The base's own answers, where their tokens are read too.
    """

    prompts: Sequence[Prompt]
    answers: Sequence[Answer] | None = None


@dataclass(frozen=True, eq=False)
class Read:
    """How one writer's input is read.

    Attributes:
        mode: The mode.
        auroc: Held-out AUROC of the mean shift (M3) at the template's tail, against `role`.
        role: The preserved role that is hardest to tell from the harmful one.
        map: What the mode makes of the standard reader, its factors in float32.
    """

    mode: InputMode
    auroc: float
    role: str
    map: InputMap


class Reading:
    """Gives every writer its reader (`ablation.compiler.RowReader`), from inputs of the base on PROBE.

    Inputs are captured and maps computed once, when the first writer is asked for, for all writers in reach of the
    settings. Harmful inputs are those of the template's tail, where refusal is decided; preserved ones also come from
    sampled tokens of messages and answers. What the standard mode alone can edit (experts, embeddings, biases,
    quantised and divided weights) stays in M0; a bias beside a matrix in another mode stays unedited.

    Memory: at most `HELD` bytes of inputs (but at least one writer's), and for each writer a map of `8 m K` bytes:
    K input channels, m = 1 (M3), rows of the harmful role (M2), or vectors that span the preserved inputs (M1).

    Attributes:
        reads: How each writer that has been asked for is read, by name.
        unread: Writers without a choice, and why.
    """

    def __init__(
        self,
        chat: ChatModel,
        anatomy: Anatomy,
        config: RunConfig,
        roles: Callable[[], Mapping[Role, Asked]],
        watch: Watch,
    ) -> None:
        """Capture nothing yet; `roles` gives the prompts, `harmful` and `harmless` among them, the rest preserved."""
        self._chat, self._anatomy, self._config, self._watch = chat, anatomy, config, watch
        self._roles = roles
        self.reads: dict[str, Read] = {}
        self.unread: dict[str, str] = {}

    def __call__(self, writer: Writer, weight: Tensor, edit: LowRankEdit) -> LowRankEdit:
        """The writer's edit in its mode, from its standard edit.

        Raises:
            ProbeError: No input of any writer can be read, though a mode was asked for; a role without inputs.
        """
        if writer.name not in self.reads and writer.name not in self.unread:
            self._read_around(writer)
        found = self.reads.get(writer.name)
        if found is None or found.mode == "M0":
            return edit
        wide = InputMap(found.map.share, found.map.left.double(), found.map.right.double())
        return replace(edit, right=wide.rows(edit.right).float().contiguous(), mode=found.mode)

    def record(self) -> dict[str, Any]:
        """What was asked for and picked, for reports; the AUROC is that of the writers whose input was read."""
        values = [read.auroc for read in self.reads.values()]
        auroc = {"median": statistics.median(values), "least": min(values)} if values else {}
        return {
            "asked": self._config.ablation.input_mode,
            "counts": self._counts(),
            "auroc": auroc,
            "unread": dict(Counter(self.unread.values())),
        }

    def _counts(self) -> dict[str, int]:
        """Weights by mode; a bias is none, for it has no input."""
        forms = {writer.name: writer.form for writer in self._anatomy.writers}
        standard = ["M0" for name in self.unread if forms[name] not in ("bias", "expert_bias")]
        counts = Counter([*(read.mode for read in self.reads.values()), *standard])
        return {mode: counts[mode] for mode in sorted(counts)}

    def _read_around(self, writer: Writer) -> None:
        """Read a writer, and all that the settings reach if it is one of them."""
        section = self._config.ablation
        layers = self._layers() if writer.layer in self._layers() else {writer.layer}
        kinds = {*section.writers, writer.kind}
        known = {*self.reads, *self.unread}
        within = [w for w in self._anatomy.writers if w.layer in layers and w.kind in kinds]
        near = [each for each in within if each.name not in known]
        self.unread |= {each.name: why for each in near if (why := _standard_only(self._chat, each))}
        wanted = [each for each in near if each.name not in self.unread]
        self._require_base(wanted)
        roles = self._roles()
        groups = _groups(wanted, len(roles) * section.input_rows)
        total = len(groups) * len(roles) + len(wanted)
        with self._watch.stage("inputs of the writers") as step:
            done = itertools.count(1)
            for group in groups:
                self._read_group(group, roles, lambda: step(next(done), total))
        if not self.reads and section.input_mode != "auto":
            reasons = "; ".join(f"{n}: {why}" for why, n in Counter(self.unread.values()).items())
            raise ProbeError(
                f"{section.input_mode} needs the inputs of writers, and none can be read ({reasons})",
                hint="Use --set ablation.input_mode=M0.",
            )
        self._watch.note(self._said())

    def _layers(self) -> set[int | None]:
        n, spectrum = self._anatomy.n_layers, self._config.spectrum
        if self._config.ablation.scope == "all":
            return {None, *range(n)}
        return set(depth_window(n, spectrum.depth_min, spectrum.depth_max))

    def _require_base(self, writers: Sequence[Writer]) -> None:
        """Lazily captured inputs must be the base's: an edit that is on the model would be read along."""
        for writer in writers:
            module = self._chat.model.get_submodule(writer.module)
            if writer.form == "matrix" and module._forward_hooks:
                raise RuntimeError(f"{writer.module} is hooked while the base's inputs are to be captured")

    def _read_group(
        self, group: Sequence[Writer], roles: Mapping[Role, Asked], step: Callable[[], None]
    ) -> None:
        """Capture the inputs of some writers and compute their maps; the inputs are dropped afterwards."""
        found: dict[Role, WriterInputs] = {}
        for role, asked in roles.items():
            found[role] = self._capture(group, role, asked)
            self.unread |= found[role].unread
            step()
        tails = {role: _at_the_tail(self._chat, roles[role].prompts, each) for role, each in found.items()}
        for writer in group:
            if writer.name not in self.unread:
                everything = _inputs(writer.name, found, None)
                self.reads[writer.name] = self._choose(everything, _inputs(writer.name, found, tails))
            step()

    def _capture(self, group: Sequence[Writer], role: Role, asked: Asked) -> WriterInputs:
        samples = 0 if role == "harmful" else _SAMPLES
        return capture_inputs(
            self._chat,
            self._anatomy,
            group,
            asked.prompts,
            answers=asked.answers,
            message_tokens=samples,
            answer_tokens=samples,
            most_rows=self._config.ablation.input_rows,
            seed=self._config.seed,
        )

    def _choose(self, inputs: Inputs, tail: Inputs) -> Read:
        """Pick the mode at the template's tail, and fit it to all inputs.

        Tokens of messages and answers are told from the template's by where they stand, which says nothing of harm: in
        the AUROC they would hide roles that cannot be told apart.
        """
        section = self._config.ablation
        least = SEPARABLE if section.input_mode == "auto" else 0.0
        picked = choose_mode(tail, seed=self._config.seed, least=least, lam=section.input_weight)
        mode = picked.mode if section.input_mode == "auto" else section.input_mode
        made = input_map(inputs, mode=mode, lam=section.input_weight)
        narrow = InputMap(made.share, made.left.float(), made.right.float())
        return Read(mode, picked.auroc, picked.role, narrow)

    def _said(self) -> str:
        record = self.record()
        listed = ", ".join(f"{n} writers {mode}" for mode, n in record["counts"].items())
        auroc = ", ".join(f"{name} {value:.3f}" for name, value in record["auroc"].items()) or "not measured"
        return f"input mode: {listed} (held-out AUROC {auroc})"


def reading(
    config: RunConfig,
    chat: ChatModel,
    anatomy: Anatomy,
    probe: Mapping[Role, Sequence[Prompt]],
    answers: Mapping[Role, Sequence[Answer]],
    preserve: Sequence[Prompt],
    ask: Callable[[str, Sequence[Prompt]], Sequence[Any]],
    watch: Watch,
) -> Reading | None:
    """The reader that the settings ask for; None for the standard one, which needs no inputs.

    Args:
        config: The run's settings.
        chat: The base.
        anatomy: Its writers.
        probe: PROBE prompts by role.
        answers: The base's answers to them.
        preserve: PROBE prompts of the preserve role; may be empty.
        ask: The base's replies to further prompts, by a name under which they are kept (`Bench.ask`).
        watch: Who follows.
    """
    if config.ablation.input_mode == "M0":
        return None

    def roles() -> dict[Role, Asked]:
        # Names and prompts are those of `pipeline.functional`, so that nothing is generated twice.
        tasks = probe["capability"][: config.entanglement.prompts]
        found: dict[Role, Asked] = {
            "harmful": Asked(probe["harmful"]),
            "harmless": Asked(probe["harmless"], answers["harmless"]),
            "capability": Asked(
                tasks, [reply.answer for reply in ask(f"probe-capability-{len(tasks)}", tasks)]
            ),
        }
        if preserve:
            found["preserve"] = Asked(preserve, [reply.answer for reply in ask("probe-preserve", preserve)])
        return found

    return Reading(chat, anatomy, config, roles, watch)


def _standard_only(chat: ChatModel, writer: Writer) -> str:
    """Why a matrix whose input could be read stays in M0 all the same; empty if it need not."""
    kind = held(chat.model, writer.name)
    if writer.form != "matrix" or kind in ("plain", "offloaded", "sharded"):
        return ""  # capturing names its own reasons
    return f"it is held in {kind}, and its edit is made anew from other values on export"


def _groups(writers: Sequence[Writer], rows: int) -> list[list[Writer]]:
    """Neighbours whose inputs fit into `HELD` bytes together."""
    groups: list[list[Writer]] = []
    size = 0
    for writer in writers:
        own = 4 * rows * writer.shape[1 - writer.axis] if writer.form == "matrix" else 0
        if not groups or size + own > HELD:
            groups.append([])
            size = 0
        groups[-1].append(writer)
        size += own
    return groups


def _at_the_tail(chat: ChatModel, prompts: Sequence[Prompt], found: WriterInputs) -> Bool[Tensor, " rows"]:
    """Which rows stand in the template's tail, behind the message and before the answer."""
    texts = [prompt.text for prompt in prompts]
    ids = encode(chat.tokenizer, texts, chat.system, thinking=chat.config.thinking)
    length = torch.tensor([len(tokens) for tokens in ids])[found.prompt]
    tail = max(tail_length(chat), 1)
    return (found.position >= length - tail) & (found.position < length)


def _inputs(name: str, found: Mapping[Role, WriterInputs], kept: Mapping[Role, Tensor] | None) -> Inputs:
    """Inputs of one writer, all of them or the kept ones of each role."""
    mask = kept or {role: torch.ones(len(each.prompt), dtype=torch.bool) for role, each in found.items()}
    rows: dict[str, Tensor] = {role: each.rows[name][mask[role]] for role, each in found.items()}
    groups: dict[str, Tensor] = {role: each.prompt[mask[role]] for role, each in found.items()}
    return Inputs(rows.pop("harmful"), rows.pop("harmless"), rows, groups)
