"""Every family of the study: its head, its attention, its dropout, and logits that know nothing of padding."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.models.auto import modeling_auto

from bench import encoders, harness, suite
from bench.batching import encode
from bench.cell import CostCell, QualityCell
from bench.configurations import attention_of, configure, with_dropout
from bench.encoders import default_pooling
from bench.errors import DataError, InputError
from bench.measure.subject import cost_base
from bench.models import TaskModel, build_model, config_encoder, load_encoder
from bench.record import Manifest, Record
from bench.session import Options, Session
from bench.store import RunStore
from bench.tasks.base import Example
from families import DECODERS, ENCODERS, SIZES, VOCABULARY

CPU = torch.device("cpu")
FAMILIES = [*ENCODERS, *DECODERS]
EAGER = {"mpnet", "deberta-v3"}
TinyModel = Callable[..., TaskModel]
Folder = Callable[[str], Path]


def tiny_encoder(family: str, hidden: float | None, attention: float | None) -> TaskModel:
    config = configure({**ENCODERS, **DECODERS}[family], hidden, attention)
    pooling = default_pooling(config.model_type)
    return build_model(config_encoder(config, "classification", pooling), "classification", 3, pooling, seed=2)


def padded(ids: Tensor, places: int, fill: int, *, left: bool = False) -> dict[str, Tensor]:
    """`ids` (batch, length) with `places` columns of padding at one side, as token ids and mask."""
    extra = torch.full((len(ids), places), fill)
    halves, masks = [ids, extra], [torch.ones_like(ids), torch.zeros_like(extra)]
    if left:
        halves, masks = halves[::-1], masks[::-1]
    return {"input_ids": torch.cat(halves, 1), "attention_mask": torch.cat(masks, 1)}


@pytest.mark.parametrize(
    ("family", "reduce"),
    [
        ("bert", "pooler"),
        ("albert", "pooler"),
        ("gpt2", "last"),
        *((family, "first") for family in ("roberta", "xlm-roberta", "distilbert", "electra", "mpnet", "deberta-v3")),
    ],
)
def test_a_sentence_head_reads_a_pooler_only_where_it_was_pretrained(
    family: str, reduce: str, tiny_model: TinyModel
) -> None:
    model = tiny_model(family)
    assert model.head.reduce == reduce
    assert (getattr(model.encoder, "pooler", None) is not None) == (reduce == "pooler")
    assert (model.head.dense is not None) == (reduce == "first")


@pytest.mark.parametrize("kind", ["classification", "tagging"])
@pytest.mark.parametrize("pooling", [None, "mean", "last"])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_do_not_depend_on_padding(family: str, pooling: str | None, kind: str, tiny_model: TinyModel) -> None:
    model = tiny_model(family, kind, pooling).eval()
    ids = torch.randint(5, VOCABULARY, (3, 7), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        alone = model(**padded(ids, 0, 0))
        for fill in (0, 1):
            together = model(**padded(ids, 4, fill))
            torch.testing.assert_close(together[:, :7] if kind == "tagging" else together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_a_decoder_may_be_padded_on_either_side(pooling: str, tiny_model: TinyModel) -> None:
    model = tiny_model("gpt2", "classification", pooling).eval()
    ids = torch.randint(5, VOCABULARY, (3, 7), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(
            model(**padded(ids, 4, 0, left=True)), model(**padded(ids, 0, 0)), rtol=1e-4, atol=1e-5
        )


def test_a_decoder_gets_no_segments(tiny_model: TinyModel, tiny_batch: dict[str, Tensor]) -> None:
    segments = {"token_type_ids": torch.ones_like(tiny_batch["input_ids"])}
    decoder, encoder = tiny_model("gpt2").eval(), tiny_model("bert").eval()
    assert torch.equal(decoder(**tiny_batch, **segments), decoder(**tiny_batch))
    assert not torch.equal(encoder(**tiny_batch, **segments), encoder(**tiny_batch))


def test_the_first_token_of_a_decoder_is_refused_as_a_head(tiny_model: TinyModel) -> None:
    with pytest.raises(InputError, match="'cls' reads the first token, which in a gpt2 model sees no other; set pool"):
        tiny_model("gpt2", "classification", "cls")


def test_decoders_are_what_transformers_calls_causal_and_nothing_else() -> None:
    causal, masked = (
        set(getattr(modeling_auto, f"MODEL_FOR_{kind}_LM_MAPPING_NAMES")) for kind in ("CAUSAL", "MASKED")
    )
    assert causal - masked >= encoders.DECODERS


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_is_fused_where_the_architecture_has_it(family: str, tiny_model: TinyModel) -> None:
    config = tiny_model(family).encoder.config
    assert config._attn_implementation == attention_of(config) == ("eager" if family in EAGER else "sdpa")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("hidden", "attention"), [(0.5, 0.0), (0.0, 0.5), (0.0, 0.0)])
def test_dropout_is_set_under_every_family_s_names(
    family: str, hidden: float, attention: float, tiny_batch: dict[str, Tensor]
) -> None:
    model = tiny_encoder(family, hidden, attention)
    with torch.no_grad():
        still, moving = model.eval()(**tiny_batch), model.train()(**tiny_batch)
    assert torch.allclose(still, moving, atol=1e-6) == (hidden == attention == 0.0)
    rates = {module.p for module in model.modules() if isinstance(module, nn.Dropout)}
    assert rates <= {hidden, attention}
    assert model.head.dropout.p == hidden


def test_a_model_without_such_dropout_says_so() -> None:
    with pytest.raises(InputError, match="llama has none of hidden_dropout_prob, "):
        with_dropout(configure({"model_type": "llama", **SIZES}, None, None), 0.1, None)


@pytest.mark.parametrize(
    ("family", "asked", "said"),
    [
        ("deberta-v3", {"attention": "sdpa"}, "deberta-v2 model, which has no sdpa attention; leave attention out or"),
        ("albert", {"gradient_checkpointing": True}, "albert model, which has no gradient checkpointing; leave"),
    ],
)
def test_what_an_architecture_does_not_have_is_refused_before_anything_runs(
    family: str, asked: dict[str, Any], said: str, family_folder: Folder, tmp_path: Path
) -> None:
    session = Session(Options(CPU, tmp_path, None, offline=True, model_folders={family: family_folder(family)}))
    plain = CostCell(model=family, strategy="full", batch_size=2, length=8)
    harness.preflight([plain], session)
    with pytest.raises(InputError, match=said):
        harness.preflight([plain.model_copy(update=asked), plain], session)


def test_the_attention_that_is_asked_for_is_built_and_told(family_folder: Folder, tmp_path: Path) -> None:
    session = Session(Options(CPU, tmp_path, None, offline=True, model_folders={"albert": family_folder("albert")}))
    cell = CostCell(model="albert", strategy="full", batch_size=2, length=8, attention="eager")
    built = cost_base(cell, session.encoder("albert"))
    assert built.encoder.config._attn_implementation == session.conditions(cell).attention == "eager"
    plain = session.conditions(cell.model_copy(update={"attention": None}))
    assert plain.attention == "sdpa"
    assert plain.model_fingerprint == session.conditions(cell).model_fingerprint, "it is the same model"


@pytest.mark.parametrize("family", ["deberta-v3", "albert", "gpt2"])
def test_a_folder_s_cells_run_and_say_which_attention_they_used(
    family: str, family_folder: Folder, tiny_data: Path, tmp_path: Path
) -> None:
    folders = {family: family_folder(family)}
    session = Session(Options(CPU, tmp_path / "cache", tiny_data, offline=True, model_folders=folders))
    cells = suite.parse(SUITE.replace("FAMILY", family), "here").cells(accelerator=False, folders=folders)
    assert {cell.pooling for cell in cells} == {"last" if family == "gpt2" else "cls"}
    harness.preflight(cells, session)
    manifest = Manifest(suite="families", suite_hash="", cells=cells, created_utc="now", command=[])
    store = RunStore.create(tmp_path / "run", manifest)
    listener = Listener()
    assert harness.run(store, session, listener) == harness.Summary(ok=len(cells), failed=0)
    for record in listener.records:
        assert record.status == "ok", record.reason
        assert record.conditions.attention == ("eager" if family in EAGER else "sdpa")
        assert isinstance(record.cell, CostCell) or (record.audit is not None and record.audit.passed)


SUITE = """
name = "families"
description = "one quality cell of each strategy"
[quality]
models = ["FAMILY"]
tasks = ["cola"]
strategies = ["full", "bitfit", "random_uniform"]
seeds = [0]
epochs = 1
batch_size = 8
train_examples = 32
curve_points = 1
learning_rate = {full = 1e-3, bitfit = 1e-2, random_uniform = 1e-2}
"""


class Listener:
    """Keeps the records."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def begin(self, cell: Any, what: str) -> None: ...

    def advance(self, what: str, share: float, loss: float | None) -> None: ...

    def finish(self, record: Record) -> None:
        self.records.append(record)


def test_the_attention_of_a_cost_cell_is_its_architecture_s(family_folder: Folder, tmp_path: Path) -> None:
    folders = {family: family_folder(family) for family in ("deberta-v3", "gpt2")}
    session = Session(Options(CPU, tmp_path / "cache", model_folders=folders))
    cells = [CostCell(model=name, strategy="full", batch_size=1, length=4) for name in (*folders, "minilm")]
    assert [session.conditions(cell).attention for cell in cells] == ["eager", "sdpa", "sdpa"]


def test_what_a_folder_lacks_is_said(tmp_path: Path) -> None:
    for text, message in (("{", "is not JSON"), ("{}", "names no model_type")):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(InputError, match=message):
            encoders.find("mine", {"mine": tmp_path})
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    assert encoders.find("mine", {"mine": tmp_path}).pooling == "last"


def gpt2_tokenizer(family_folder: Folder, tmp_path: Path, kind: Any) -> Any:
    encoder = encoders.find("gpt2", {"gpt2": family_folder("gpt2")})
    return load_encoder(encoder, kind, "last", cache_dir=tmp_path)[1]


def test_a_byte_level_tokenizer_keeps_split_words_and_pairs_apart(family_folder: Folder, tmp_path: Path) -> None:
    tokenizer = gpt2_tokenizer(family_folder, tmp_path, "tagging")
    words = encode([Example(("a", "cat"), (0, 1))], "tagging", tokenizer, 16)
    assert tokenizer.decode(words.ids) == " a cat"
    tokenizer = gpt2_tokenizer(family_folder, tmp_path, "classification")
    pair = encode([Example(("a cat", "a dog"), 0)], "classification", tokenizer, 16)
    assert tokenizer.decode(pair.ids) == "a cat<|endoftext|>a dog"
    assert tokenizer.decode(encode([Example(("a cat",), 0)], "classification", tokenizer, 16).ids) == "a cat"
    tokenizer.eos_token = None
    with pytest.raises(DataError, match="GPT2Tokenizer has no token to put between the two texts of a pair"):
        encode([Example(("a cat", "a dog"), 0)], "classification", tokenizer, 16)


def test_a_text_without_a_token_is_refused(family_folder: Folder, tmp_path: Path) -> None:
    tokenizer = gpt2_tokenizer(family_folder, tmp_path, "classification")
    examples = [Example(("a cat",), 0), Example(("",), 1)]
    with pytest.raises(DataError, match=r"the text \(''\,\) leaves no token, and GPT2Tokenizer adds none of its own"):
        encode(examples, "classification", tokenizer, 16)


def test_pooling_of_the_last_token_is_part_of_the_key() -> None:
    fields: dict[str, Any] = {"model": "m", "task": "cola", "strategy": "full", "seed": 0}
    cell = QualityCell(**fields, learning_rate=1e-3, epochs=1, batch_size=8, pooling="last")
    assert cell.key.endswith(" pooling=last")
