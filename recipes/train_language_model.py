"""Train the network of an architecture as a causal language model on text.

    python recipes/train_language_model.py --generate --max_parameters 40e6 --train_text TEXT --output_dir runs/first
    python recipes/train_language_model.py --architecture '{"embed_dim": 192, ...}' --train_text TEXT --tokenizer gpt2
    accelerate launch --multi_gpu --num_processes 8 --mixed_precision bf16 recipes/train_language_model.py ... # 8 GPUs
    accelerate launch --multi_gpu --num_processes 2 recipes/train_language_model.py --cpu ...     # two CPU processes

TEXT is a text file, a folder of text files, a Parquet file or a folder of them (column "text"), or the id of a data
set on the Hub. The text to evaluate is the split "validation", or else a share at the end of the text. The tokenizer
is trained on the text unless one is named. The batch is that of all processes together, so that more processes make
the same updates in less time. The trained network is left in OUTPUT_DIR/network with its tokenizer and training.json,
as a transformers model.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import datasets
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from command_line import add_generation_options, add_settings, errors_in_one_line, generate, training_bar
from pkgen_hf import Architecture, PKGenNetworkForCausalLM, PKGenTextConfig
from pkgen_hf.files import user_path
from pkgen_hf.modeling_text_network import DEFAULT_TEXT_SPACE, causal_spaces
from pkgen_hf.spaces import Task
from pkgen_hf.training.processes import is_main_process
from saved_networks import has_weights, load_weights, read_config
from text_settings import CHOICES, HELP, TextSettings
from text_tokens import end_token, load_tokenizer, train_tokenizer
from text_training import read_corpus, train
from texts import Texts, UnknownSplit, load_texts

SAMPLE = 40  # tokens of the text that is generated at the end


def parse_arguments(argv: list[str] | None = None) -> tuple[TextSettings, argparse.Namespace]:
    """Parse the command line to settings, and to the other options: network and text.

    Raises
    ------
    ValueError
        If --network names none.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, add_help=False, allow_abbrev=False
    )
    add_network_options(parser)
    known, _ = parser.parse_known_args(argv)  # the default of --context follows from these
    default = TextSettings()
    if known.network:
        saved = read_config(known.network, PKGenTextConfig)
        default = dataclasses.replace(default, context=saved.max_position_embeddings)
    parser.add_argument("-h", "--help", action="help", help="show this and exit")
    add_text_options(parser)
    add_settings(parser, default, HELP, CHOICES)
    options = parser.parse_args(argv)
    if not (options.architecture or options.network or options.generate):
        parser.error("name a network: --architecture STRING, --network FOLDER_OR_ID or --generate")
    return dataclasses.replace(default, **{name: getattr(options, name) for name in HELP}), options


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Options of the network."""
    names = ", ".join(causal_spaces())
    parser.add_argument("--space", default=DEFAULT_TEXT_SPACE, metavar="SPACE", choices=causal_spaces(),
                        help=f"of the network: {names} (default: {DEFAULT_TEXT_SPACE})")  # fmt: skip
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--architecture", metavar="STRING", help="train this architecture of --space")
    which.add_argument("--network", metavar="FOLDER_OR_ID", help="train this saved network: from its weights if it "
                       "has any, else from fresh ones")  # fmt: skip
    which.add_argument("--generate", action="store_true", help="train what the pipeline ranks first in --space; "
                       "limits count the vocabulary of the tokenizer unless --task is given")  # fmt: skip
    add_generation_options(parser)


def add_text_options(parser: argparse.ArgumentParser) -> None:
    """Options of the text to train on and to evaluate, and of its tokens."""
    parser.add_argument("--train_text", required=True, metavar="TEXT", help="text to train on")
    parser.add_argument("--validation_text", metavar="TEXT", help="text to evaluate (default: the split "
                        "--validation_split of --train_text, or else a share of it)")  # fmt: skip
    parser.add_argument(
        "--train_split", default="train", help="of a folder or data set that has splits (default: train)"
    )
    parser.add_argument("--validation_split", help="likewise (default: validation, if there is one)")
    parser.add_argument("--validation_share", type=float, default=0.1, help="share at the end of --train_text that is "
                        "evaluated, not trained on, where no other text is (default: 0.1)")  # fmt: skip
    parser.add_argument("--no_validation", action="store_true", help="evaluate nothing")
    parser.add_argument("--text_column", default="text", help="column of texts (default: text)")
    parser.add_argument("--dataset_config", help="configuration of a data set on the Hub")
    parser.add_argument("--dataset_revision", help="revision of a data set on the Hub")
    parser.add_argument("--tokenizer", metavar="FOLDER_OR_ID", help="tokenizer (default: that of --network, or one "
                        "trained on the text)")  # fmt: skip
    parser.add_argument("--prompt", default="The", help="beginning of the text that is generated at the end "
                        "(default: The)")  # fmt: skip


def read_texts(options: argparse.Namespace) -> tuple[Texts, Texts | None]:
    """Texts to train on and to evaluate.

    Raises
    ------
    ValueError
        If one cannot be read.
    """
    names = (options.text_column, options.dataset_config, options.dataset_revision)
    texts = load_texts(options.train_text, options.train_split, *names)
    if options.no_validation:
        return texts, None
    split = options.validation_split or "validation"
    if options.validation_text:
        return texts, load_texts(options.validation_text, split, *names)
    if texts.split is not None or options.validation_split:
        try:
            found = load_texts(options.train_text, split, *names)
        except UnknownSplit:
            if options.validation_split:
                raise
        else:
            if found.split is None:
                raise ValueError(f"{texts.name} has no splits, hence none called {split!r}; omit --validation_split")
            return texts, found
    return texts.hold_out(options.validation_share)


def tokenizer_of(options: argparse.Namespace, settings: TextSettings, texts: Texts) -> Any:
    """The tokenizer that is named, that of the network, or one trained on the texts."""
    if options.tokenizer:
        return load_tokenizer(options.tokenizer)
    if options.network:
        try:
            return load_tokenizer(options.network)
        except ValueError as error:
            raise ValueError(f"{error}; name one by --tokenizer") from error
    return train_tokenizer(texts, settings.vocab_size, settings.context)


def make_network(settings: TextSettings, options: argparse.Namespace, tokenizer: Any) -> PKGenNetworkForCausalLM:
    """Build, generate or load the network, for the tokens of a tokenizer."""
    end = end_token(tokenizer)
    tokens = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    if options.network:
        model = _saved_network(settings, options.network)
        for config in (model.config, model.generation_config):
            for name, token in tokens.items():
                setattr(config, name, token)
        return model
    if options.generate:
        task = options.task or Task("language-modelling", num_classes=len(tokenizer))
        architecture = generate(options, options.space, task, settings.seed, context=settings.context)
    else:
        architecture = Architecture.from_string(options.space, options.architecture)
    torch.manual_seed(settings.seed)
    return PKGenNetworkForCausalLM.from_architecture(architecture, len(tokenizer), settings.context, **tokens)


def _saved_network(settings: TextSettings, network: str) -> PKGenNetworkForCausalLM:
    """A saved network, with fresh weights if it has none, whose texts may be as long as a block."""
    if has_weights(network):
        model = load_weights(network, PKGenNetworkForCausalLM)
    else:
        if is_main_process() and not settings.quiet:
            print(f"{network} holds no weights: the training begins with fresh ones")
        torch.manual_seed(settings.seed)
        model = PKGenNetworkForCausalLM(read_config(network, PKGenTextConfig))
    model.config.max_position_embeddings = max(settings.context, model.config.max_position_embeddings)
    return model


def sample(network: str, prompt: str, seed: int) -> str:
    """The text that a saved network continues a prompt with, and the prompt."""
    tokenizer = AutoTokenizer.from_pretrained(network)
    model = AutoModelForCausalLM.from_pretrained(network)
    ids = tokenizer(prompt or tokenizer.eos_token, return_tensors="pt", add_special_tokens=False)["input_ids"]
    transformers.set_seed(seed)
    most = max(1, min(SAMPLE, model.config.max_position_embeddings - ids.shape[1]))
    chosen = {"do_sample": True, "temperature": 0.8, "top_k": 50, "max_new_tokens": most}
    tokens = model.generate(ids, attention_mask=torch.ones_like(ids), **chosen)
    return str(tokenizer.decode(tokens[0], skip_special_tokens=True))


def main(argv: list[str] | None = None) -> None:
    with errors_in_one_line():
        settings, options = parse_arguments(argv)
        show = is_main_process() and not settings.quiet
        transformers.utils.logging.disable_progress_bar()
        if not show:
            datasets.disable_progress_bars()
        texts, evaluated = read_texts(options)
        corpus = read_corpus(tokenizer_of(options, settings, texts), texts, evaluated, show)
        model = make_network(settings, options, corpus.tokenizer)
        if show:
            print(f"{model.config.space}: {model.config.architecture}")
            print(f"{len(corpus.tokens):,} tokens of {texts.name}, {len(corpus.tokenizer):,} different ones")
        with training_bar(show) as on_step:
            result = train(settings, model, corpus, on_step)
    if show:
        folder = str(user_path(settings.output_dir) / "network")
        if found := result["validation"]:
            print(f"perplexity {found['perplexity']:,.2f}, {found['bits_per_byte']:.3f} bits per byte")
        print(sample(folder, options.prompt, settings.seed))
        print(f"saved in {folder}, after {result['seconds']:,.0f} s")


if __name__ == "__main__":
    main()
