"""An edit is the same edit as hooks and in place; undoing it gives the same bits; it fits only its base."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from saber.ablation.apply import InPlace, applied, base_hash, certify, check_base
from saber.ablation.compiler import compile_edit
from saber.ablation.edit import EditSet, LowRankEdit
from saber.ablation.hooks import hook_all
from saber.ablation.operator import ablation_operator, written_directions
from saber.errors import EditError
from saber.model.anatomy import Anatomy, Writer, effective_gain
from saber.model.examine import examine
from saber.model.load import ChatModel


def edit_all(chat: ChatModel, alpha: tuple[float, ...] = (1.0, 0.4), **options: object) -> EditSet:
    """Edit every writer along two random directions."""
    anatomy = examine(chat.model)
    generator = torch.Generator().manual_seed(7)
    basis = torch.linalg.qr(torch.randn(anatomy.d_model, len(alpha), generator=generator))[0]
    edits = {}
    for writer in anatomy.writers:
        gain = effective_gain(chat.model, writer)
        operator = ablation_operator(basis, torch.tensor(alpha), gain, centred=writer.centred, **options)
        written = written_directions(basis, gain, writer.centred)
        edits[writer.name] = compile_edit(chat.model, writer, operator, written / written.norm(dim=0))
    return EditSet(edits, base_hash(chat.model, anatomy.writers))


@torch.no_grad()
def logits(chat: ChatModel) -> torch.Tensor:
    ids = torch.randint(5, 240, (2, 17), generator=torch.Generator().manual_seed(0))
    return chat.model(input_ids=ids, use_cache=False).logits


@pytest.mark.parametrize("solution", ["ridge", "least_change", "direction", "naive"])
def test_hooks_equal_in_place(chat: ChatModel, solution: str) -> None:
    anatomy, edits = examine(chat.model), edit_all(chat, post_norm=solution)
    base = logits(chat)
    with applied(chat.model, anatomy, edits):
        hooked = logits(chat)
    assert torch.equal(logits(chat), base)
    InPlace(chat.model, anatomy, edits)
    written = logits(chat)
    change = float((written - base).abs().max())
    assert change > 1e-2
    # A vector that is small before a norm magnifies rounding: in units of the change, not of a logit.
    assert (hooked - written).abs().max() <= 1e-4 * max(change, 1.0)


def test_hooks_equal_in_place_where_the_input_is_read_in_another_mode(chat: ChatModel) -> None:
    """Rows that are no product of `read` and the weight: a hook that read the output would do the standard edit."""
    anatomy = examine(chat.model)
    edits = from_inputs(edit_all(chat), anatomy)
    base = logits(chat)
    with applied(chat.model, anatomy, edits):
        hooked = logits(chat)
    assert torch.equal(logits(chat), base)
    in_place = InPlace(chat.model, anatomy, edits)
    written = logits(chat)
    in_place.undo()
    assert torch.equal(logits(chat), base)
    change = float((written - base).abs().max())
    assert change > 1e-2
    assert (hooked - written).abs().max() <= 1e-4 * max(change, 1.0)
    rows = certify(chat.model, anatomy, edits)
    assert max(abs(row.component_left - row.wanted_left) for row in rows) <= 1e-5


def from_inputs(edits: EditSet, anatomy: Anatomy) -> EditSet:
    """The edit with other rows for every matrix, fused experts included."""
    generator = torch.Generator().manual_seed(3)
    made = {}
    for name, edit in edits.edits.items():
        drawn = torch.randn(edit.right.shape, generator=generator)
        right = drawn * edit.right.norm() / drawn.norm()
        read = anatomy.named()[name].form in ("matrix", "experts")
        made[name] = dataclasses.replace(edit, right=right, mode="M3") if read else edit
    return EditSet(made, edits.base_sha256)


def test_undo_is_bit_exact(chat: ChatModel) -> None:
    before = {name: value.clone() for name, value in chat.model.state_dict().items()}
    InPlace(chat.model, examine(chat.model), edit_all(chat)).undo()
    after = chat.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_strength_zero_changes_nothing(chat: ChatModel) -> None:
    base = logits(chat)
    with applied(chat.model, examine(chat.model), edit_all(chat, alpha=(0.0, 0.0))):
        assert torch.equal(logits(chat), base)


def test_full_strength_leaves_no_component_in_any_writer(chat: ChatModel) -> None:
    anatomy = examine(chat.model)
    rows = certify(chat.model, anatomy, edit_all(chat, alpha=(1.0, 1.0)))
    assert len(rows) == len(anatomy.writers)
    assert max(row.wanted_left for row in rows) <= 1e-5
    assert max(row.component_left for row in rows) <= 1e-5
    assert all(0 < row.relative_norm < 1 for row in rows)


def test_an_edit_applied_twice_is_refused(chat: ChatModel) -> None:
    anatomy, edits = examine(chat.model), edit_all(chat)
    InPlace(chat.model, anatomy, edits)
    with pytest.raises(EditError, match="hash") as error:
        InPlace(chat.model, anatomy, edits)
    assert "applied to it already" in error.value.hint


def test_an_edit_of_another_shape_or_model_is_refused(chat: ChatModel) -> None:
    anatomy, edits = examine(chat.model), edit_all(chat)
    name, edit = next(iter(edits.edits.items()))
    narrow = dataclasses.replace(
        edit, left=edit.left[:-1], read=edit.read[:, :-1], directions=edit.directions[:-1]
    )
    with pytest.raises(EditError, match="model's writer is"):
        check_base(chat.model, anatomy, EditSet({name: narrow}, edits.base_sha256))
    unknown = dataclasses.replace(edit, writer="model.other.weight")
    with pytest.raises(EditError, match="does not have"):
        check_base(chat.model, anatomy, EditSet({"model.other.weight": unknown}, edits.base_sha256))


def test_no_edit_is_lost_where_a_module_holds_two_alike() -> None:
    module = torch.nn.Module()
    names = ("first", "second")
    for name in names:
        module.register_parameter(name, torch.nn.Parameter(torch.randn(4, 3)))
    model = torch.nn.Module()
    model.add_module("mixer", module)
    writers = {
        f"mixer.{name}": Writer(f"mixer.{name}", "mixer", 0, "mixer", "matrix", 0, (4, 3)) for name in names
    }
    column, row = torch.zeros(4, 1), torch.zeros(1, 4)
    edits = [LowRankEdit(name, column, torch.zeros(1, 3), row, column) for name in writers]
    handles, rest = hook_all(model, writers, edits)
    assert not handles
    assert rest == edits
