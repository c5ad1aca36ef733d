"""Generated language models as transformers models: save, load in a fresh process, generate, train."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from fresh import run_fresh
from hub_stub import TOKEN, HubStub
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM, Trainer, TrainingArguments

from pkgen_hf import Architecture, PKGenNetworkForCausalLM, PKGenTextConfig, get_space
from pkgen_hf.modeling_text_network import causal_spaces, saved_text_network, text_spaces
from pkgen_hf.publishing.push import kind_of

SPACE = get_space("hw-gpt-bench-s")
WORDS = 61
NETWORK = Architecture.from_string(
    SPACE,
    json.dumps({"embed_dim": 192, "num_layers": 10, "heads": [4, 8] * 5, "mlp_ratio": [2, 3] + [2] * 8, "bias": True}),
)


def made(seed: int = 0, **options: Any) -> PKGenNetworkForCausalLM:
    torch.manual_seed(seed)
    model = PKGenNetworkForCausalLM.from_architecture(NETWORK, WORDS, 48, **options).eval()
    with torch.no_grad():  # predictions that are far from equal, and not of the token that was read last
        for weight in model.network.layers.parameters():
            weight.mul_(6 if weight.ndim == 2 else 1)
    return model


def texts(batch: int = 2, time: int = 9) -> torch.Tensor:
    return torch.randint(1, WORDS, (batch, time), generator=torch.Generator().manual_seed(1))


# ---------------------------------------------------------------------- saving


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    model = made()
    model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "README.md", "config.json", "generation_config.json", "model.safetensors",
    }  # fmt: skip
    again, loading = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(loading.values()) and isinstance(again, PKGenNetworkForCausalLM) and not again.training
    assert torch.equal(again(texts()).logits, model(texts()).logits)
    assert sum(weight.numel() for weight in again.parameters()) == NETWORK.cost(num_classes=WORDS).parameters
    half = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {weight.dtype for weight in half.parameters()} == {torch.bfloat16}
    difference = (half(texts()).logits - model(texts()).logits).abs().max()
    assert 0 < difference < 0.05 * model(texts()).logits.abs().max()


def test_same_logits_in_a_fresh_process(tmp_path: Path) -> None:
    model = made()
    model.save_pretrained(tmp_path)
    code = (
        "import sys, torch, pkgen_hf\n"
        "from transformers import AutoModelForCausalLM\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "print(model(torch.arange(9).view(1, 9)).logits.tolist())"
    )
    done = run_fresh(code, str(tmp_path))
    assert torch.equal(torch.tensor(json.loads(done.stdout)), model(torch.arange(9).view(1, 9)).logits)


def test_the_card_runs_in_a_fresh_process(tmp_path: Path) -> None:
    model = made()
    model.save_pretrained(tmp_path)
    assert kind_of(tmp_path) == "network"
    card = (tmp_path / "README.md").read_text()
    assert f"{model.num_parameters():,} parameters" in card and str(NETWORK) in card and "61 tokens" in card
    (code,) = re.findall(r"```python\n(.*?)```", card.replace("org/name", str(tmp_path)), flags=re.DOTALL)
    done = run_fresh(code)
    assert done.returncode == 0 and done.stdout.startswith("torch.Size([1, 8, 61])\ntensor([["), done.stderr[-3000:]


def test_it_goes_to_the_hub(hub: HubStub) -> None:
    model = made()
    model.push_to_hub("org/gpt", token=TOKEN)
    files = hub.repositories["model", "org/gpt"].commits[-1]
    assert b'from_pretrained("org/gpt").eval()' in files["README.md"] and "model.safetensors" in files
    assert json.loads(files["config.json"])["architectures"] == ["PKGenNetworkForCausalLM"]


def test_configuration_says_the_sizes_of_every_layer(tmp_path: Path) -> None:
    config = made(bos_token_id=3).config
    config.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    sizes = {
        "hidden_size": 192,
        "num_hidden_layers": 10,
        "num_attention_heads_per_layer": [4, 8] * 5,
        "intermediate_size_per_layer": [384, 576] + [384] * 8,
        "head_dim": 64,
        "bias": True,
        "vocab_size": WORDS,
        "max_position_embeddings": 48,
        "bos_token_id": 3,
    }
    assert content.items() >= sizes.items() and content["architecture"] == str(NETWORK)
    again = AutoConfig.from_pretrained(tmp_path)
    assert again.to_diff_dict() == config.to_diff_dict() and again.tie_word_embeddings
    (tmp_path / "config.json").write_text(json.dumps(content | {"hidden_size": 384}))
    with pytest.raises(ValueError, match="hidden_size follows from the architecture, which has 192, got 384"):
        AutoConfig.from_pretrained(tmp_path)


def test_by_default_it_is_the_benchmarks_network() -> None:
    config = PKGenTextConfig(architecture=str(NETWORK))
    assert (config.vocab_size, config.max_position_embeddings) == (50_304, 1_024)
    with torch.device("meta"):
        model = PKGenNetworkForCausalLM(config)
    assert model.num_parameters() == NETWORK.cost().parameters
    assert model.device.type == "meta"
    smallest = PKGenTextConfig()
    assert smallest.architecture == SPACE.to_strings(SPACE.null_indices[None])[0]


@pytest.mark.parametrize("name", causal_spaces())
def test_every_space_has_models(name: str) -> None:
    space = get_space(name)
    (architecture,) = Architecture.from_batch(space, space.sample(1, torch.Generator().manual_seed(0)))
    with torch.device("meta"):
        model = PKGenNetworkForCausalLM.from_architecture(architecture)
    assert model.num_parameters() == architecture.cost().parameters
    assert len(model.config.num_attention_heads_per_layer) == model.config.num_hidden_layers


# ---------------------------------------------------------------------- results


def test_logits_are_those_of_the_network_and_causal() -> None:
    model, tokens = made(), texts()
    logits = model(tokens).logits
    assert torch.equal(logits, model.network(tokens))
    other = tokens.clone()
    other[:, 5:] = 0
    torch.testing.assert_close(model(other).logits[:, :5], logits[:, :5])
    assert not torch.allclose(model(other).logits[:, 5:], logits[:, 5:])
    torch.testing.assert_close(model(tokens, logits_to_keep=2).logits, logits[:, -2:])
    torch.testing.assert_close(model(inputs_embeds=model.get_input_embeddings()(tokens)).logits, logits)
    torch.testing.assert_close(model(tokens, return_dict=False, use_cache=False)[0], logits)


def test_loss_is_the_mean_over_tokens_of_the_next_one() -> None:
    model, tokens = made(), texts()
    labels = tokens.clone()
    labels[0, :4] = -100
    out = model(tokens, labels=labels)
    expected = F.cross_entropy(out.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    torch.testing.assert_close(out.loss, expected)
    torch.testing.assert_close(model(tokens, labels=labels, num_items_in_batch=26).loss, expected * 13 / 26)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_makes_no_difference(side: str) -> None:
    model, tokens = made(), texts(1)
    long = texts(1, 14)
    pad = torch.zeros(1, 5, dtype=torch.long)
    mask = torch.tensor([[0] * 5 + [1] * 9 if side == "left" else [1] * 9 + [0] * 5, [1] * 14])
    padded = torch.cat([pad, tokens] if side == "left" else [tokens, pad], dim=1)
    logits = model(torch.cat([padded, long]), attention_mask=mask).logits
    there = slice(5, None) if side == "left" else slice(9)
    torch.testing.assert_close(logits[:1, there], model(tokens).logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits[1:], model(long).logits, rtol=1e-4, atol=1e-4)
    assert logits.isfinite().all()


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "checkpointing"])
def test_hidden_states_are_those_of_every_layer(training: bool) -> None:
    model, tokens, seen = made().train(training), texts(), []
    if training:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    for layer in model.network.layers:
        layer.register_forward_hook(lambda _, args, result: seen.append((args[0], result)))
    out = model(tokens, output_hidden_states=True, use_cache=False)
    assert out.hidden_states is not None and len(out.hidden_states) == len(model.network.layers) + 1
    for before, (read, _) in zip(out.hidden_states, seen, strict=False):
        assert torch.equal(before, read)
    assert torch.equal(out.hidden_states[-1], model.network.norm(seen[-1][1]))
    assert torch.equal(model.network.logits(out.hidden_states[-1]), out.logits)
    plain = model(tokens, use_cache=False)
    assert plain.hidden_states is None and torch.equal(plain.logits, out.logits)
    assert len(model(tokens, output_hidden_states=True, use_cache=False, return_dict=False)) == 2
    model.config.output_hidden_states = True
    assert model(tokens).hidden_states is not None and model(tokens, output_hidden_states=False).hidden_states is None


def test_generation_returns_hidden_states() -> None:
    options: dict[str, Any] = {"max_new_tokens": 3, "do_sample": False, "pad_token_id": 0}
    model = made()
    found = model.generate(texts(), return_dict_in_generate=True, output_hidden_states=True, **options)
    assert [step[-1].shape for step in found.hidden_states] == [(2, 9, 192), (2, 1, 192), (2, 1, 192)]
    assert torch.equal(found.sequences, model.generate(texts(), **options))


def test_weights_of_attention_are_refused() -> None:
    model = made()
    message = "output_attentions=True is not possible: torch's scaled_dot_product_attention"
    with pytest.raises(ValueError, match=message):
        model(texts(), output_attentions=True)
    with pytest.raises(ValueError, match=message):
        model.generate(texts(), max_new_tokens=2, return_dict_in_generate=True, output_attentions=True)
    configured = PKGenTextConfig(architecture=str(NETWORK), vocab_size=WORDS, output_attentions=True)
    with pytest.raises(ValueError, match=message):
        PKGenNetworkForCausalLM(configured)(texts())
    assert model(texts(), output_attentions=False).attentions is None


# ---------------------------------------------------------------------- generation


def test_generation_with_a_cache_is_that_without() -> None:
    model, tokens = made(), texts()
    found = [
        model.generate(tokens, max_new_tokens=20, do_sample=False, use_cache=use, pad_token_id=0)
        for use in (True, False)
    ]
    assert found[0].shape == (2, 29) and torch.equal(*found)
    step = tokens
    for _ in range(20):
        step = torch.cat([step, model(step).logits[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(step, found[0]) and len(found[0][0, 9:].unique()) > 2
    beams = [
        model.generate(tokens, max_new_tokens=8, num_beams=3, do_sample=False, use_cache=use, pad_token_id=0)
        for use in (True, False)
    ]
    assert torch.equal(*beams)


def test_texts_of_different_lengths_generate_as_alone() -> None:
    model, one, two = made(), texts(1, 4), texts(1, 9)
    batch = torch.cat([torch.cat([torch.zeros(1, 5, dtype=torch.long), one], dim=1), two])
    mask = torch.tensor([[0] * 5 + [1] * 4, [1] * 9])
    options: dict[str, Any] = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    for use_cache in (True, False):
        found = model.generate(batch, attention_mask=mask, use_cache=use_cache, **options)
        assert torch.equal(found[:1, 5:], model.generate(one, **options))
        assert torch.equal(found[1:], model.generate(two, **options))


def test_a_text_may_be_read_in_parts() -> None:
    model, tokens = made(), texts()
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    parts = [model(part, past_key_values=cache, use_cache=True).logits for part in tokens.split([4, 1, 4], dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(tokens).logits, rtol=1e-4, atol=1e-4)
    assert cache.get_seq_length() == 9
    elements = 2 * sum(cache.layers[i].keys.numel() for i in range(10))
    assert elements == 2 * 9 * int(SPACE.kv_cache_elements(NETWORK.rows))  # type: ignore[attr-defined]


# ---------------------------------------------------------------------- training


def gradients(model: PKGenNetworkForCausalLM) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = model(texts(), labels=texts()).loss
    loss.backward()
    return loss, {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_changes_nothing(reentrant: bool) -> None:
    model = made().train()
    loss, expected = gradients(model)
    runs = []
    model.network.layers[3].register_forward_pre_hook(lambda *_: runs.append(1))
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    again, found = gradients(model)
    assert len(runs) == 2  # once more in the backward pass
    torch.testing.assert_close(again, loss)
    assert expected.keys() == found.keys() == dict(model.named_parameters()).keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=name)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_trainer_learns_a_text(checkpointing: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = PKGenNetworkForCausalLM.from_architecture(NETWORK, WORDS, 16)
    data = [{"input_ids": tokens, "labels": tokens} for tokens in texts(8, 16)]
    before = model(texts(8, 16), labels=texts(8, 16)).loss.item()
    arguments = TrainingArguments(
        str(tmp_path),
        max_steps=4,
        learning_rate=3e-3,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        gradient_checkpointing=checkpointing,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model, arguments, train_dataset=data)
    assert trainer.train().global_step == 4
    model.eval()
    assert model(texts(8, 16), labels=texts(8, 16)).loss.item() < before - 0.3
    trainer.save_model(str(tmp_path / "saved"))
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    assert torch.equal(again(texts()).logits, model(texts()).logits)


def test_vocabulary_can_be_resized() -> None:
    model = made()
    before = model(texts()).logits
    model.resize_token_embeddings(WORDS + 3)
    assert model.config.vocab_size == WORDS + 3
    torch.testing.assert_close(model(texts()).logits[..., :WORDS], before)


# ---------------------------------------------------------------------- mistakes


def test_mistakes_are_named() -> None:
    assert set(causal_spaces()) <= set(text_spaces()) and "nas-bench-nlp" not in text_spaces()
    with pytest.raises(ValueError, match="space of networks for texts: 'darts'.*hw-gpt-bench-s"):
        PKGenTextConfig(space="darts")
    with pytest.raises(ValueError, match="is not a hw-gpt-bench-s string"):
        PKGenTextConfig(architecture="nonsense")
    with pytest.raises(ValueError, match="architecture must be a string of the space, got 7"):
        PKGenTextConfig(architecture=7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="scale must hold options by name"):
        PKGenTextConfig(scale=[1])  # type: ignore[arg-type]
    for name in ("vocab_size", "max_position_embeddings"):
        with pytest.raises(ValueError, match=f"{name} must be a whole number from 1, got 0"):
            PKGenTextConfig(**{name: 0})
    with pytest.raises(ValueError, match="'layers'"):
        PKGenNetworkForCausalLM(PKGenTextConfig(scale={"layers": 3}))
    model = made()
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds, got neither"):
        model()
    with pytest.raises(ValueError, match=r"attention_mask must be of shape \(batch, 9\), got \(2, 4\)"):
        model(texts(), attention_mask=torch.ones(2, 4))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "tie_word_embeddings",
            False,
            "tie_word_embeddings must be true, got False: the output layer is the embedding",
        ),
        ("tie_word_embeddings", "yes", "tie_word_embeddings must be true, got 'yes'"),
        ("use_cache", "no", "use_cache must be true or false, got 'no'"),
        ("use_cache", 1, "use_cache must be true or false, got 1"),
    ],
)
def test_edited_configurations_are_refused(field: str, value: Any, message: str, tmp_path: Path) -> None:
    model = made()
    model.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(content | {field: value}))
    with pytest.raises(ValueError, match=message):
        AutoModelForCausalLM.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(content | {"use_cache": False}))
    assert AutoModelForCausalLM.from_pretrained(tmp_path)(texts()).to_tuple()[1:] == ()


def test_a_cache_that_cannot_grow_and_positions_of_another_shape_are_refused() -> None:
    model = made()
    with pytest.raises(ValueError, match="a cache must grow with the text"):
        model.generate(texts(), max_new_tokens=3, cache_implementation="static")
    with pytest.raises(ValueError, match=r"position_ids must be of shape \(2, 9\), got \(2, 8\)"):
        model(texts(), position_ids=torch.arange(8).expand(2, -1))
    ordered = torch.arange(9)[None]
    assert torch.equal(model(texts(), position_ids=ordered).logits, model(texts()).logits)


def test_shards_are_read(tmp_path: Path) -> None:
    model = made()
    model.save_pretrained(tmp_path, max_shard_size="1MB")
    assert not (tmp_path / "model.safetensors").exists()
    built = NETWORK.build(WORDS, context=48).eval()
    built.load_state_dict(saved_text_network(tmp_path).state)
    assert torch.equal(built(texts()), model(texts()).logits)
    next(tmp_path.glob("model-00002-of-*.safetensors")).unlink()
    with pytest.raises(ValueError, match=r"is not whole: model-00002-of-\d+\.safetensors is missing"):
        saved_text_network(tmp_path)
