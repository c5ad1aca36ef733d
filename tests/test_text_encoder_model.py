"""Generated text encoders as transformers models: save, load, take over an encoder, train, classify."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from fresh import run_fresh
from hub_stub import TOKEN, HubStub
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)

from pkgen_hf import (
    Architecture,
    PKGenNetworkForMaskedLM,
    PKGenNetworkForSequenceClassification,
    PKGenTextConfig,
    get_space,
)
from pkgen_hf.modeling_text_encoder import PKGenEncoderModel, encoder_spaces
from pkgen_hf.modeling_text_network import saved_text_network

WORDS = 41
NETWORK = Architecture.from_string(
    "nas-bench-bert", '{"hidden_size":128,"layers":[["SA","SDP",2,512,1],["DSC",5,4,1024,3]]}'
)
LARGE = Architecture.from_string(
    "nas-bench-bert",
    '{"hidden_size":256,"layers":[["SA","WMA",4,1024,1],["LT","DCT",2,512,1],["SA","SDP",4,512,3],["LT","DFT",2,512,1]]}',
)
CLASSES = (PKGenNetworkForMaskedLM, PKGenNetworkForSequenceClassification)
Model = PKGenNetworkForMaskedLM | PKGenNetworkForSequenceClassification


def made(kind: type[PKGenEncoderModel], architecture: Architecture = NETWORK, seed: int = 0, **options: Any) -> Any:
    """A small model in evaluation whose results differ clearly from text to text."""
    set_seed(seed)
    model = kind.from_architecture(architecture, WORDS, 24, **options).eval()
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.mul_(4 if weight.ndim == 2 else 1)
    return model


def texts(batch: int = 2, length: int = 9) -> torch.Tensor:
    return torch.randint(1, WORDS, (batch, length), generator=torch.Generator().manual_seed(1))


def auto(kind: type[PKGenEncoderModel]) -> Any:
    return AutoModelForMaskedLM if kind is PKGenNetworkForMaskedLM else AutoModelForSequenceClassification


# ---------------------------------------------------------------------- saving


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("architecture", [NETWORK, LARGE], ids=["few", "many"])
def test_it_is_saved_and_loaded(kind: type[PKGenEncoderModel], architecture: Architecture, tmp_path: Path) -> None:
    model = made(kind, architecture)
    model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    again, loading = auto(kind).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(loading.values()) and isinstance(again, kind) and not again.training
    assert torch.equal(again(texts()).logits, model(texts()).logits)
    half = auto(kind).from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {weight.dtype for weight in half.parameters()} == {torch.bfloat16}
    difference = (half(texts()).logits - model(texts()).logits).abs().max()
    assert 0 < difference < 0.05 * model(texts()).logits.abs().max()


@pytest.mark.parametrize("kind", CLASSES)
def test_the_card_runs_in_a_fresh_process(kind: type[PKGenEncoderModel], tmp_path: Path) -> None:
    model = made(kind)
    model.save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert f"{model.num_parameters():,} parameters" in card and str(NETWORK) in card
    (code,) = re.findall(r"```python\n(.*?)```", card.replace("org/name", str(tmp_path)), flags=re.DOTALL)
    done = run_fresh(code)
    shape = [1, 8, WORDS] if kind is PKGenNetworkForMaskedLM else [1, 2]
    assert done.returncode == 0 and done.stdout.strip() == f"torch.Size({shape})", done.stderr[-3000:]


def test_it_goes_to_the_hub(hub: HubStub) -> None:
    made(PKGenNetworkForMaskedLM).push_to_hub("org/bert", token=TOKEN)
    files = hub.repositories["model", "org/bert"].commits[-1]
    assert b"AutoModelForMaskedLM" in files["README.md"] and b"fill-mask" in files["README.md"]
    assert json.loads(files["config.json"])["architectures"] == ["PKGenNetworkForMaskedLM"]


def test_configuration_says_the_sizes_of_every_layer(tmp_path: Path) -> None:
    config = made(PKGenNetworkForSequenceClassification, id2label={0: "bad", 1: "so-so", 2: "good"}).config
    config.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    sizes = {
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads_per_layer": [2, 4],
        "intermediate_sizes_per_layer": [[512], [512, 1024, 1024]],
        "vocab_size": WORDS,
        "max_position_embeddings": 24,
    }
    assert content.items() >= sizes.items()
    again = AutoConfig.from_pretrained(tmp_path)
    assert again.to_diff_dict() == config.to_diff_dict() and again.num_labels == 3


def test_by_default_it_is_the_benchmarks_network() -> None:
    config = PKGenTextConfig("nas-bench-bert", str(NETWORK))
    assert (config.vocab_size, config.max_position_embeddings) == (30_522, 512)
    with torch.device("meta"):
        masked, classifier = PKGenNetworkForMaskedLM(config), PKGenNetworkForSequenceClassification(config)
    assert classifier.num_parameters() == NETWORK.cost("sst").parameters and classifier.device.type == "meta"
    encoder = sum(weight.numel() for weight in masked.network.encoder.parameters())
    assert encoder == NETWORK.cost().parameters
    assert masked.num_parameters() == encoder + 128 * 129 + 2 * 128 + 30_522


# ---------------------------------------------------------------------- an encoder that was trained before


@pytest.mark.parametrize("labels", [1, 3])
def test_a_classifier_begins_with_the_encoder_of_a_masked_model(labels: int, tmp_path: Path) -> None:
    masked = made(PKGenNetworkForMaskedLM)
    masked.save_pretrained(tmp_path)
    classifier, loading = AutoModelForSequenceClassification.from_pretrained(
        tmp_path, num_labels=labels, output_loading_info=True
    )
    assert {key.split(".")[1] for key in loading["missing_keys"]} == {"dense", "classifier"}
    assert not loading["unexpected_keys"] and not loading["mismatched_keys"]
    for name, weight in masked.network.encoder.state_dict().items():
        assert torch.equal(classifier.network.encoder.state_dict()[name], weight), name
    for linear in (classifier.network.dense, classifier.network.classifier):  # as fresh networks begin
        assert not linear.bias.any() and 0.01 < linear.weight.std() < 0.03
    assert classifier(texts()).logits.shape == (2, labels)


def test_a_masked_model_may_begin_with_the_encoder_of_a_classifier(tmp_path: Path) -> None:
    made(PKGenNetworkForSequenceClassification).save_pretrained(tmp_path)
    masked = AutoModelForMaskedLM.from_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    tokens = "network.encoder.embeddings.tokens.weight"
    assert torch.equal(masked.get_input_embeddings().weight, state[tokens])
    assert not masked.network.decoder_bias.any() and 0.01 < masked.network.transform.weight.std() < 0.03
    assert torch.equal(masked.network.transform_norm.weight, torch.ones(128))


# ---------------------------------------------------------------------- results


@pytest.mark.parametrize("kind", CLASSES)
def test_logits_are_those_of_the_network(kind: type[PKGenEncoderModel]) -> None:
    model, tokens, types = made(kind), texts(), torch.tensor([[0] * 4 + [1] * 5] * 2)
    logits = model(tokens).logits
    assert torch.equal(logits, model.network(tokens)) and torch.equal(model(tokens, return_dict=False)[0], logits)
    assert torch.equal(model(tokens, token_type_ids=types).logits, model.network(tokens, segments=types))
    assert not torch.allclose(model(tokens, token_type_ids=types).logits, logits)
    torch.testing.assert_close(model(inputs_embeds=model.get_input_embeddings()(tokens)).logits, logits)


@pytest.mark.parametrize("kind", CLASSES)
def test_padding_makes_no_difference(kind: type[PKGenEncoderModel]) -> None:
    model, tokens, long = made(kind), texts(1), texts(1, 14)
    padded = torch.cat([torch.cat([tokens, torch.zeros(1, 5, dtype=torch.long)], dim=1), long])
    mask = torch.tensor([[1] * 9 + [0] * 5, [1] * 14])
    logits = model(padded, attention_mask=mask).logits
    alone = model(tokens).logits
    torch.testing.assert_close(logits[:1, : alone.shape[1]], alone, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits[1:], model(long).logits, rtol=1e-4, atol=1e-4)
    nothing = model(padded, attention_mask=torch.zeros_like(mask)).logits
    assert nothing.isfinite().all()  # of texts without a token, too


def test_loss_of_masked_places() -> None:
    model, tokens = made(PKGenNetworkForMaskedLM), texts()
    labels = torch.full_like(tokens, -100)
    labels[0, 3], labels[1, 5] = 7, 9
    out = model(tokens, labels=labels)
    expected = F.cross_entropy(torch.stack([out.logits[0, 3], out.logits[1, 5]]), torch.tensor([7, 9]))
    torch.testing.assert_close(out.loss, expected)
    torch.testing.assert_close(model(tokens, labels=labels, num_items_in_batch=4).loss, expected / 2)


def test_losses_of_classes_numbers_and_several_labels() -> None:
    tokens = texts(3)
    for number, labels, loss in [
        (3, torch.tensor([0, 2, 1]), F.cross_entropy),
        (1, torch.tensor([0.5, -1.0, 2.0]), lambda logits, wanted: F.mse_loss(logits[:, 0], wanted)),
        (3, torch.eye(3), F.binary_cross_entropy_with_logits),
    ]:
        model = made(PKGenNetworkForSequenceClassification, num_labels=number)
        out = model(tokens, labels=labels)
        assert out.logits.shape == (3, number)
        torch.testing.assert_close(out.loss, loss(out.logits, labels))
        with pytest.raises(ValueError, match="labels must be of 3 texts, got"):
            model(tokens, labels=labels[:2])


# ---------------------------------------------------------------------- training


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_changes_nothing(kind: type[PKGenEncoderModel], reentrant: bool) -> None:
    labels = texts() if kind is PKGenNetworkForMaskedLM else torch.tensor([0, 1])
    mask = torch.tensor([[1] * 9, [1] * 6 + [0] * 3])

    def gradients() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        model.zero_grad()
        torch.manual_seed(0)  # of dropout
        loss = model(texts(), attention_mask=mask, labels=labels).loss
        loss.backward()
        return loss, {n: w.grad.clone() for n, w in model.named_parameters() if w.grad is not None}

    model = made(kind).train()
    loss, expected = gradients()
    runs: list[int] = []
    model.network.encoder.layers[1].register_forward_pre_hook(lambda *_: runs.append(1))
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    again, found = gradients()
    assert len(runs) == 2 and expected.keys() == found.keys()  # once more in the backward pass
    torch.testing.assert_close(again, loss)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=name)


@pytest.mark.parametrize("kind", CLASSES)
def test_trainer_learns(kind: type[PKGenEncoderModel], tmp_path: Path) -> None:
    """Texts of which the first token says the class, and the others all tokens."""
    set_seed(0)
    model = kind.from_architecture(NETWORK, WORDS, 16, scale={"dropout": 0.0})
    is_masked = kind is PKGenNetworkForMaskedLM
    batch = texts(16, 6)
    data = [{"input_ids": row, "labels": row if is_masked else row[0] % 2} for row in batch]
    arguments = TrainingArguments(
        str(tmp_path),
        max_steps=30,
        learning_rate=1e-3,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    labels = torch.stack([row["labels"] for row in data])
    before = model.eval()(batch, labels=labels).loss.item()
    trainer = Trainer(model, arguments, train_dataset=data)
    assert trainer.train().global_step == 30
    assert model.eval()(batch, labels=labels).loss.item() < 0.75 * before
    trainer.save_model(str(tmp_path / "saved"))
    again = auto(kind).from_pretrained(tmp_path / "saved")
    assert torch.equal(again(batch).logits, model(batch).logits)


def test_accumulated_steps_of_a_regression_count_as_one(tmp_path: Path) -> None:
    """The loss of a step is the mean over its parts, also where labels are numbers."""
    losses = []
    for size, steps in [(8, 1), (2, 4)]:
        set_seed(0)
        model = PKGenNetworkForSequenceClassification.from_architecture(
            NETWORK, WORDS, 16, num_labels=1, scale={"dropout": 0.0}
        )
        data = [{"input_ids": row, "labels": row[0] / WORDS} for row in texts(8, 6)]
        arguments = TrainingArguments(
            str(tmp_path / str(size)),
            max_steps=1,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=steps,
            logging_steps=1,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = Trainer(model, arguments, train_dataset=data)
        trainer.train()
        losses.append(trainer.state.log_history[0]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_vocabulary_can_be_resized(tmp_path: Path) -> None:
    model = made(PKGenNetworkForMaskedLM)
    before = model(texts()).logits
    model.resize_token_embeddings(WORDS + 3)
    assert model.config.vocab_size == WORDS + 3 and model(texts()).logits.shape[-1] == WORDS + 3
    torch.testing.assert_close(model(texts()).logits[..., :WORDS], before)
    model.save_pretrained(tmp_path)
    assert torch.equal(AutoModelForMaskedLM.from_pretrained(tmp_path)(texts()).logits, model(texts()).logits)


@pytest.mark.parametrize("kind", CLASSES)
def test_weights_go_to_plain_python_and_onnx(kind: type[PKGenEncoderModel], tmp_path: Path) -> None:
    model = made(kind)
    head = {"masked_language_model": True} if kind is PKGenNetworkForMaskedLM else {"num_classes": 2}
    scale: dict[str, Any] = {"vocabulary": WORDS, "positions": 24, **head}
    NETWORK.export(tmp_path / "net.py", **scale)
    code = (
        "import sys, torch\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "sys.modules['pkgen_hf'] = None\n"
        "from net import build\n"
        "from safetensors.torch import load_file, save_file\n"
        "network = build().eval()\n"
        "network.load_state_dict(load_file(sys.argv[1] + '/net.safetensors'))\n"
        "save_file({'logits': network(torch.arange(9).view(1, 9)).detach()}, sys.argv[1] + '/logits.safetensors')\n"
    )
    state = model.network.state_dict()
    NETWORK.export(tmp_path / "net.safetensors", state=state, **scale)
    done = run_fresh(code, str(tmp_path))
    assert done.returncode == 0, done.stderr
    found = load_file(tmp_path / "logits.safetensors")["logits"]
    torch.testing.assert_close(found, model(torch.arange(9).view(1, 9)).logits, rtol=1e-6, atol=1e-6)
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    model.save_pretrained(tmp_path / "saved")
    saved = saved_text_network(tmp_path / "saved")
    assert (saved.architecture, saved.num_classes) == (NETWORK, head.get("num_classes"))
    done = NETWORK.export(tmp_path / "net.onnx", state=saved.state, num_classes=saved.num_classes, **saved.scale)
    assert done.difference is not None and done.difference < 1e-3
    session = runtime.InferenceSession(tmp_path / "net.onnx")
    assert [given.name for given in session.get_inputs()] == ["tokens"]
    for batch, length in ((1, 1), (3, 5)):
        tokens = torch.randint(WORDS, (batch, length))
        (found,) = session.run(None, {"tokens": tokens.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), model(tokens).logits.detach(), rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------------- mistakes


def test_mistakes_are_named() -> None:
    assert encoder_spaces() == ["nas-bench-bert"]
    assert get_space("nas-bench-bert") == NETWORK.space
    for kind in CLASSES:
        with pytest.raises(ValueError, match="space of text encoders: 'hw-gpt-bench-s'.*nas-bench-bert"):
            kind(PKGenTextConfig("hw-gpt-bench-s"))
        model = made(kind)
        with pytest.raises(ValueError, match="either input_ids or inputs_embeds, got both"):
            model(texts(), inputs_embeds=torch.zeros(2, 9, 128))
        with pytest.raises(ValueError, match=r"attention_mask must be of shape \(batch, 9\), got \(2, 4\)"):
            model(texts(), attention_mask=torch.ones(2, 4))
        with pytest.raises(ValueError, match=r"token_type_ids must be of shape \(2, 9\), got \(2, 4\)"):
            model(texts(), token_type_ids=torch.ones(2, 4))
        with pytest.raises(ValueError, match="at most 24 tokens, got 25"):
            model(texts(2, 25))
    with pytest.raises(ValueError, match="hidden_size follows from the architecture, which has 128, got 64"):
        PKGenTextConfig("nas-bench-bert", str(NETWORK), hidden_size=64)
