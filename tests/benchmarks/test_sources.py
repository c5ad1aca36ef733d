"""Readers of published files: numbers come through, and what is damaged, foreign or more than data is refused."""

from __future__ import annotations

import base64
import bz2
import json
import math
import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import pkgen_hf
from pkgen_hf.benchmarks.readers.tables import merge_runs, score_column
from pkgen_hf.benchmarks.readers.tfrecord import RecordFile, checksums
from pkgen_hf.benchmarks.score_table import ScoreTable
from pkgen_hf.benchmarks.sources import licensed_tables_in, load_benchmark, tables_in
from pkgen_hf.spaces import get_space, list_spaces

CELL = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
GENOTYPE = "[" + ", ".join(["[[0, 4], [1, 3], [0, 2], [2, 3], [2, 3], [0, 3], [2, 6], [3, 5]]"] * 2) + "]"
RECIPE = {"f": {"op": "linear", "input": ["x", "h_prev_0"]}, "h_new_0": {"op": "activation_tanh", "input": ["f"]}}
SAME_RECIPE = {**RECIPE, "f": {"op": "linear", "input": ["h_prev_0", "x"]}}
TASKS_OF_TRANSNAS = list(get_space("transnas-bench-101-micro").tasks)


# ---------------------------------------------------------------------- small files in the official forms


def crc32c(data: bytes) -> int:
    """The checksum by definition, bit by bit."""
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data))


def metrics(validation: float, test: float, seconds: float, parameters: int) -> str:
    """A protocol buffer of three evaluations, the last of them at the end, and with a field that is not known."""
    message = b""
    for share in (0.0, 0.5, 1.0):
        values = {1: 108 * share, 2: seconds * share, 4: validation * share, 5: test * share}
        evaluation = b"".join(bytes([number << 3 | 1]) + struct.pack("<d", value) for number, value in values.items())
        evaluation += bytes([6 << 3 | 2, 4]) + b"path"
        message += bytes([1 << 3 | 2, len(evaluation)]) + evaluation
    varint = b""
    while parameters > 127:
        varint, parameters = varint + bytes([parameters & 127 | 128]), parameters >> 7
    message += bytes([2 << 3]) + varint + bytes([parameters])
    return base64.encodebytes(message + bytes([3 << 3 | 1]) + struct.pack("<d", 1.0)).decode()


def write_nasbench(folder: Path) -> Path:
    """Two cells, one of them at 4 epochs, too; three runs each."""
    records = []
    for cell, (matrix, names) in enumerate([("011001000", "input,maxpool3x3,output"), ("0100", "input,output")]):
        for epochs in (4, 108) if cell == 0 else (108,):
            for run in range(3):
                numbers = metrics(0.5 + run / 10, 0.4 + run / 10, 100.0 + run, 300_000 + cell)
                records.append(json.dumps([f"hash{cell}", epochs, matrix, names, numbers]).encode())
    path = folder / "nasbench_only108.tfrecord"
    path.write_bytes(b"".join(frame(record) for record in records))
    return path


def write_nats(folder: Path, names: list[str], epochs: int) -> Path:
    """Records of all `names`, two seeds each."""
    folder = folder / "NATS-simple"
    folder.mkdir()
    lists = {"meta_archs": names, "total_archs": len(names), "arch2infos": None, "evaluated_indexes": set(range(2))}
    (folder / "meta.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(lists)))
    for number, name in enumerate(names):
        runs = {}
        for seed in (777, 888):
            for data in ("cifar10-valid", "cifar10", "cifar100", "ImageNet16-120"):
                score = 50.0 + number + (seed == 888)
                places = {"x-valid": score, "x-test": score + 10, "ori-test": score + 20}
                runs[data, seed] = {
                    "eval_acc1es": {f"{place}@{epochs - 1}": value for place, value in places.items()},
                    "train_times": OrderedDict((epoch, 2.0) for epoch in range(epochs)),
                    "latency": [np.float64(0.25)],
                    "params": np.float64(0.129306),
                    "flop": np.float64(15.5),
                }
        record = {str(epochs): {"arch_index": number, "arch_str": name, "all_results": runs}}
        (folder / f"{number:06d}.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(record)))
    return folder


def write_macro(folder: Path) -> Path:
    row = {"test_acc": [89.0, 90.0, 91.0], "mean_acc": 90.0, "std": 0.8, "params": 890_666, "flops": 47_000_000}
    path = folder / "nas-bench-macro_cifar10.json"
    path.write_text(json.dumps({"02012100": row, "22222222": {**row, "mean_acc": 93.0}}))
    return path


def write_suite_zero(folder: Path) -> Path:
    tuples = GENOTYPE.replace("[", "(").replace("]", ")")
    row = {"val_accuracy": 93.5, "flops": {"score": 150.5, "time": 1}, "params": {"score": 0.8, "time": 1}}
    path = folder / "zc_nasbench301.json"
    path.write_text(json.dumps({"cifar10": {tuples: row}}))
    return path


def write_accel(folder: Path) -> Path:
    """One network measured twice, once with all devices, and another."""
    text = get_space("mnasnet").example
    for number, (top1, changes) in enumerate([(60.0, {}), (62.0, {}), (50.0, {"block0_l": 1})]):
        cell = {key: str(value) if isinstance(value, bool) else value for key, value in json.loads(text).items()}
        devices = {"throughput_a100": {"throughput_mean": 100.0 + number, "throughput_std": 1.0}} if number < 2 else {}
        content = {
            "architecture": cell | changes,
            "metrics": {"val_top1": top1, "val_top5": top1 + 20, "train_time": 2_000.0},
            "platform_perf": devices,
        }
        (folder / f"result_{number}.json").write_text(json.dumps(content))
    return folder


def write_logs(folder: Path) -> Path:
    """Three runs of one cell, by two recipes, one of which did not end well, and one on the other corpus."""
    for number, (data, status, losses) in enumerate(
        [
            ("data/wikitext-2", "OK", [6.0, 5.0, 5.5]),
            ("data/wikitext-2", "OK", [7.0, 6.0, 6.5]),
            ("data/wikitext-2", "loss is nan!", [4.0, math.nan]),
            ("data/ptb", "OK", [4.5, 4.0, 4.2]),
        ]
    ):
        log = {
            "recepie": json.dumps(RECIPE if number != 1 else SAME_RECIPE),
            "data": data,
            "status": status,
            "val_losses": losses,
            "test_losses": [loss - 0.25 for loss in losses],
            "num_params": 15_066_078,
        }
        (folder / f"log_stats_model_{number}.json").write_text(json.dumps(log))
    return folder


def transnas_content() -> dict[str, Any]:
    measures = {
        "valid_top1": [1.0, 50.0],
        "test_top1": [1.0, 49.0],
        "valid_neg_loss": [-1.0, -0.6],
        "test_neg_loss": [-1.0, -0.7],
        "valid_acc": [90.0, 94.0],
        "test_acc": [90.0, 93.0],
        "valid_ssim": [0.1, 0.5],
        "test_ssim": [0.1, 0.4],
    }
    costs = {"model_params": 2.5, "model_FLOPs": 300.0, "inference_time": 0.01}
    result = {task: {"metrics": measures, "model_info": costs, "total_epochs": 2} for task in TASKS_OF_TRANSNAS}
    data = {"macro": {"64-1234-basic": result}, "micro": {"64-41414-1_02_333": result, "64-41414-0_00_001": result}}
    return {"data": data, "metrics_dict": {}, "info_names": list(costs), "task_list": TASKS_OF_TRANSNAS}


def write_transnas(folder: Path) -> Path:
    path = folder / "transnas-bench_v10141024.pth"
    torch.save(transnas_content(), path)
    return path


def write_asr(folder: Path) -> Path:
    """Two seeds of the full training, a shorter one, a device and costs."""
    cells = {"a": [(1, 0), (0, 0, 1), (2, 1, 0, 0)], "b": [(0, 1), (1, 1, 0), (0, 1, 0, 1)]}
    shape = {"version": 2, "search_space": {"ops": [], "nodes": 3}}
    for seed, epochs in [(1234, 40), (1235, 40), (1234, 10)]:
        columns = ["model_hash", "val_per", "test_per", "arch_vec"]
        header = {**shape, "dataset_type": "training", "epochs": epochs, "seed": seed, "columns": columns}
        rate = 0.2 if seed == 1234 else 0.3
        rows = [(key, [0.9, rate, rate + 0.1], rate + 0.05, cell) for key, cell in cells.items()]
        (folder / f"nb-asr-e{epochs}-{seed}.pickle").write_bytes(pickle.dumps(header) + pickle.dumps(rows))
    header = {**shape, "dataset_type": "benchmarking", "device": "gtx-1080ti", "columns": ["model_hash", "latency"]}
    (folder / "nb-asr-bench-gtx.pickle").write_bytes(pickle.dumps(header) + pickle.dumps([("a", 0.05)]))
    header = {**shape, "dataset_type": "static", "columns": ["model_hash", "params", "flops"]}
    (folder / "nb-asr-info.pickle").write_bytes(pickle.dumps(header) + pickle.dumps([("a", 20, 30), ("b", 25, 35)]))
    return folder


WRITERS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "nasbench": ("nas-bench-101", write_nasbench),
    "nats topology": ("nas-bench-201", lambda folder: write_nats(folder, [CELL], 200)),
    "nats size": ("nats-bench-size", lambda folder: write_nats(folder, ["8:8:8:8:8", "8:8:8:8:16"], 90)),
    "macro": ("nas-bench-macro", write_macro),
    "suite zero": ("darts", write_suite_zero),
    "accel": ("mnasnet", write_accel),
    "logs": ("nas-bench-nlp", write_logs),
    "transnas": ("transnas-bench-101-micro", write_transnas),
    "asr": ("nas-bench-asr", write_asr),
}


def rows_of(form: str, folder: Path) -> list[dict[str, Any]]:
    space, write = WRITERS[form]
    return load_benchmark(space, write(folder)).to_list()


# ---------------------------------------------------------------------- every form


@pytest.mark.parametrize("form", WRITERS)
def test_table_is_standard(form: str, tmp_path: Path) -> None:
    name, write = WRITERS[form]
    space, path = get_space(name), write(tmp_path)
    table = ScoreTable.load(space, path)
    assert table.tasks and len(table.indices) == len(table.indices.unique(dim=0))
    loaded = load_benchmark(space, path)
    assert loaded["architecture"][:] == space.to_strings(table.indices)
    for task in table.tasks:
        assert score_column(space, task, space.tasks[task].split) in loaded.column_names
    for column, feature in loaded.features.items():
        if column.endswith(("_accuracy", "_score")):
            assert feature.dtype == "float32"


def some_file(path: Path) -> Path:
    return path if path.is_file() else sorted(file for file in path.iterdir() if not file.name.startswith("meta"))[0]


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("form", WRITERS)
def test_truncated_file_is_refused(form: str, part: float, tmp_path: Path) -> None:
    space, write = WRITERS[form]
    path = write(tmp_path)
    file = some_file(path)
    whole = file.read_bytes()
    file.write_bytes(whole[: min(int(part * len(whole)), len(whole) - 1)])
    with pytest.raises(ValueError) as caught:
        load_benchmark(space, path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("content", [b"architecture,accuracy\n" * 50, b'{"a": {"b": 1}}', pickle.dumps([1, "two"])])
@pytest.mark.parametrize("form", WRITERS)
def test_foreign_file_is_refused(form: str, content: bytes, tmp_path: Path) -> None:
    space, write = WRITERS[form]
    path = write(tmp_path)
    file = some_file(path)
    file.write_bytes(bz2.compress(content) if file.suffix == ".pbz2" else content)
    with pytest.raises(ValueError) as caught:
        load_benchmark(space, path)
    assert str(tmp_path) in str(caught.value)


def test_folder_without_any_form_names_what_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no .parquet file in .*, and no \*.tfrecord"):
        load_benchmark("nas-bench-101", tmp_path)


# ---------------------------------------------------------------------- TFRecord


def test_checksum_is_crc32c() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    generator = np.random.default_rng(0)
    data = generator.integers(0, 256, 500).astype(np.uint8)
    starts, lengths = np.array([0, 7, 100, 3, 499, 250]), np.array([100, 0, 400, 100, 1, 17])
    expected = [masked(data[a : a + n].tobytes()) for a, n in zip(starts, lengths, strict=True)]
    assert checksums(data, starts, lengths).tolist() == expected
    assert checksums(data, starts[:0], lengths[:0]).shape == (0,)


def test_records_come_back(tmp_path: Path) -> None:
    records = [b"", b"a", b"x" * 300, "ö".encode()]
    path = tmp_path / "some.tfrecord"
    path.write_bytes(b"".join(map(frame, records)))
    file = RecordFile(path)
    assert len(file) == 4 and file.read(0, 4) == records and file.read(2, 3) == records[2:3]


@pytest.mark.parametrize("where", ["length's checksum", "data", "data's checksum"])
def test_flipped_bit_is_found(where: str, tmp_path: Path) -> None:
    path = write_nasbench(tmp_path)
    whole = bytearray(path.read_bytes())
    length = struct.unpack_from("<Q", whole)[0]
    whole[{"length's checksum": 8, "data": 12 + length // 2, "data's checksum": 12 + length}[where]] ^= 4
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="record 0 has another checksum"):
        load_benchmark("nas-bench-101", path)


def test_nasbench_is_the_mean_of_three_runs(tmp_path: Path) -> None:
    first, second = rows_of("nasbench", tmp_path)
    assert first["architecture"] == "11_1:maxpool3x3" and second["architecture"] == "1:"
    assert first["cifar10_validation_accuracy"] == pytest.approx(60) and first["cifar10_parameters"] == 300_000
    assert second["cifar10_test_accuracy"] == pytest.approx(50)
    assert second["cifar10_training_time_s"] == pytest.approx(101)
    assert first["cifar10_test_accuracy_4_epochs"] == pytest.approx(50)
    assert second["cifar10_test_accuracy_4_epochs"] is None and "cifar10_test_accuracy_12_epochs" not in first


def test_cell_that_is_not_of_the_space_is_refused(tmp_path: Path) -> None:
    record = json.dumps(["hash", 108, "0100", "input,conv5x5", metrics(0.5, 0.5, 1.0, 10)])
    path = tmp_path / "cells.tfrecord"
    path.write_bytes(frame(record.encode()))
    with pytest.raises(ValueError, match="holds a cell that is not one of NAS-Bench-101's"):
        load_benchmark("nas-bench-101", path)


# ---------------------------------------------------------------------- pickles


def test_nats_is_the_mean_over_seeds_of_the_longest_training(tmp_path: Path) -> None:
    _, row = rows_of("nats size", tmp_path)
    assert row["architecture"] == "8:8:8:8:16"
    assert row["cifar10_validation_accuracy"] == 51.5 and row["cifar10_test_accuracy"] == 71.5
    assert row["cifar100_validation_accuracy"] == 51.5 and row["cifar100_test_accuracy"] == 61.5
    assert row["ImageNet16-120_training_time_s"] == 180 and row["cifar10_latency_s"] == 0.25
    assert row["cifar10_parameters"] == 129_306 and row["cifar10_flops_m"] == 15.5


def test_record_of_another_architecture_is_refused(tmp_path: Path) -> None:
    folder = write_nats(tmp_path, ["8:8:8:8:8", "8:8:8:8:16"], 90)
    os.replace(folder / "000001.pickle.pbz2", folder / "000000.pickle.pbz2")
    meta = {"meta_archs": ["8:8:8:8:8", "8:8:8:8:24"]}
    (folder / "meta.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(meta)))
    with pytest.raises(ValueError, match="000000.pickle.pbz2 is of 8:8:8:8:16, but listed as 8:8:8:8:24"):
        load_benchmark("nats-bench-size", folder)
    (folder / "meta.pickle.pbz2").unlink()
    with pytest.raises(ValueError, match="should hold meta.pickle.pbz2"):
        load_benchmark("nats-bench-size", folder)


class Hostile:
    """Touches a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def test_more_than_data_is_never_run(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    cells = write_nats(tmp_path, ["8:8:8:8:8"], 90)
    (cells / "000000.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps({"90": Hostile(touched)})))
    tasks = tmp_path / "transnas.pth"
    torch.save({**transnas_content(), "extra": Hostile(touched)}, tasks)
    speech = write_asr(tmp_path) / "nb-asr-e40-1234.pickle"
    speech.write_bytes(pickle.dumps({"dataset_type": Hostile(touched)}))
    for space, path in [("nats-bench-size", cells), ("transnas-bench-101-micro", tasks), ("nas-bench-asr", speech)]:
        with pytest.raises(ValueError, match="only plain data is read"):
            load_benchmark(space, path)
    torch.save({**transnas_content(), "extra": torch.zeros(2)}, tasks)
    with pytest.raises(ValueError, match="could not be read as a pickle of plain data"):
        load_benchmark("transnas-bench-101-micro", tasks)
    assert not touched.exists()


def test_transnas_is_read_after_the_last_epoch(tmp_path: Path) -> None:
    path = write_transnas(tmp_path)
    first, _ = load_benchmark("transnas-bench-101-micro", path).to_list()
    (macro,) = load_benchmark("transnas-bench-101-macro", path).to_list()
    assert macro["architecture"] == "64-1234-basic" and first["architecture"] == "64-41414-1_02_333"
    assert first["class_scene_validation_accuracy"] == 50 and first["class_scene_test_accuracy"] == 49
    assert first["room_layout_validation_score"] == pytest.approx(-0.6)
    assert first["segmentsemantic_test_accuracy"] == 93 and first["normal_validation_score"] == 0.5
    assert macro["autoencoder_parameters_m"] == 2.5 and macro["jigsaw_latency_s"] == pytest.approx(0.01)


def test_speech_is_the_mean_over_seeds_of_the_full_training(tmp_path: Path) -> None:
    first, second = rows_of("asr", tmp_path)
    assert first["architecture"] == "[[1, 0], [0, 0, 1], [2, 1, 0, 0]]"
    assert first["timit_validation_score"] == pytest.approx(75) and first["timit_test_score"] == pytest.approx(70)
    assert first["timit_latency_gtx-1080ti"] == pytest.approx(0.05) and second["timit_latency_gtx-1080ti"] is None
    assert second["timit_params"] == 25 and second["timit_flops"] == 35
    with pytest.raises(ValueError, match="holds no file nb-asr-e40"):
        load_benchmark("nas-bench-asr", tmp_path / "nb-asr-info.pickle")


# ---------------------------------------------------------------------- JSON


def test_macro_has_the_mean_and_its_runs(tmp_path: Path) -> None:
    first, second = rows_of("macro", tmp_path)
    assert first["cifar10_test_accuracy"] == 90 and first["cifar10_test_accuracy_runs"] == [89, 90, 91]
    assert first["cifar10_parameters"] == 890_666 and first["cifar10_flops_m"] == 47
    assert second["architecture"] == "22222222"


@pytest.mark.parametrize("is_older", [False, True])
def test_both_forms_of_suite_zero(is_older: bool, tmp_path: Path) -> None:
    path = write_suite_zero(tmp_path)
    if is_older:
        cells = {text: {"val_accuracy": 93.5, "flops": 150.5, "params": 0.8} for text in [GENOTYPE]}
        path.write_text(json.dumps({"nasbench301": {"cifar10": cells}}))
    (row,) = load_benchmark("darts", path).to_list()
    space = get_space("darts")
    assert row["architecture"] == space.to_strings(space.from_strings([GENOTYPE]))[0]
    assert row["cifar10_validation_accuracy"] == 93.5 and row["cifar10_flops_m"] == 150.5
    assert row["cifar10_parameters_m"] == pytest.approx(0.8)


def test_cells_with_none_keep_their_rows(tmp_path: Path) -> None:
    texts = [GENOTYPE, GENOTYPE.replace("[3, 5]", "[3, 7]")]
    rows = {text: {"val_accuracy": 90.0 + k, "flops": 150.5, "params": 0.8} for k, text in enumerate(texts)}
    path = tmp_path / "zc_nasbench301.json"
    path.write_text(json.dumps({"nasbench301": {"cifar10": rows}}))
    first, second = load_benchmark("darts", path).to_list()
    assert first["architecture"].count("none") == 0 and second["architecture"].count("none") == 2
    assert second["cifar10_validation_accuracy"] == 91
    scores = ScoreTable.load("darts", path)
    indices = get_space("darts").from_strings(texts)
    assert scores.scores(indices, "cifar10", "validation").tolist() == [90, 91]


def test_network_that_was_trained_twice_is_one_row(tmp_path: Path) -> None:
    first, second = rows_of("accel", tmp_path)
    assert first["imagenet1k_validation_accuracy"] == 61 and first["imagenet1k_validation_top5"] == 81
    assert first["imagenet1k_throughput_a100"] == 100.5 and second["imagenet1k_throughput_a100"] is None
    assert second["imagenet1k_validation_accuracy"] == 50 and second["imagenet1k_training_time_s"] == 2_000


def test_losses_are_of_the_best_epoch_and_of_runs_that_ended_well(tmp_path: Path) -> None:
    (row,) = rows_of("logs", tmp_path)
    assert row["wikitext2_validation_score"] == -5.5 and row["wikitext2_test_score"] == -5.25
    assert row["ptb_validation_score"] == -4 and row["wikitext2_parameters"] == 15_066_078
    log = json.loads((tmp_path / "log_stats_model_0.json").read_text())
    (tmp_path / "log_stats_model_0.json").write_text(json.dumps({**log, "data": "data/hywiki"}))
    with pytest.raises(ValueError, match="unknown corpus.*'data/hywiki'.*ptb, wikitext2"):
        load_benchmark("nas-bench-nlp", tmp_path)


# ---------------------------------------------------------------------- Parquet of other columns


def test_mean_of_what_was_measured() -> None:
    table = merge_runs(["b", "a", "b", "c"], {"x": [1.0, 2.0, 3.0, math.nan], "y": [math.nan, 5.0, 7.0, math.nan]})
    assert table.to_pylist() == [
        {"architecture": "b", "x": 2.0, "y": 7.0},
        {"architecture": "a", "x": 2.0, "y": 5.0},
        {"architecture": "c", "x": None, "y": None},
    ]


def test_columns_of_other_forms_are_renamed(tmp_path: Path) -> None:
    micro = get_space("transnas-bench-101-micro")
    bare = {f"{task}_validation": pa.array([1.0], pa.float32()) for task in micro.tasks}
    pq.write_table(pa.table({"architecture": ["64-41414-1_02_333"], **bare}), tmp_path / "micro.parquet")
    assert ScoreTable.load(micro, tmp_path / "micro.parquet").tasks == list(micro.tasks)
    cells = {
        "module_adjacency": pa.array([[0, 1, 0, 0, 0, 1, 0, 0, 0], [0, 1, 0, 0]], pa.list_(pa.uint8())),
        "module_operations": [["input", "maxpool3x3", "output"], ["input", "output"]],
        "test_accuracy": [90.0, math.nan],
    }
    pq.write_table(pa.table(cells), tmp_path / "graphs.parquet")
    assert load_benchmark("nas-bench-101", tmp_path / "graphs.parquet").to_list() == [
        {"architecture": "10_1:maxpool3x3", "cifar10_test_accuracy": 90.0},
        {"architecture": "1:", "cifar10_test_accuracy": None},
    ]


def test_configs_are_joined_if_they_are_of_the_same_rows(tmp_path: Path) -> None:
    names = ["64-41414-1_02_333", "64-41414-0_00_001"]
    for task, rows in [("class_scene", names), ("class_object", names)]:
        (tmp_path / task).mkdir()
        table = pa.table({"architecture": rows, f"{task}_validation_accuracy": [1.0, 2.0]})
        pq.write_table(table, tmp_path / task / "a.parquet")
    loaded = load_benchmark("transnas-bench-101-micro", tmp_path)
    assert loaded.column_names == [
        "architecture",
        "class_object_validation_accuracy",
        "class_scene_validation_accuracy",
    ]
    pq.write_table(pa.table({"architecture": names[::-1], "x": [1.0, 2.0]}), tmp_path / "class_scene" / "a.parquet")
    with pytest.raises(ValueError, match="tables of different columns whose architectures differ"):
        load_benchmark("transnas-bench-101-micro", tmp_path)


# ---------------------------------------------------------------------- the real tables


@pytest.fixture(scope="module")
def graphs(shared_benchmarks: Path) -> ScoreTable:
    return ScoreTable.load("nas-bench-101", shared_benchmarks / "nas-bench-101.parquet")


def test_nas_bench_101_is_whole(graphs: ScoreTable, shared_benchmarks: Path) -> None:
    assert len(graphs.indices) == graphs.space.num_architectures == 423_624 and graphs.tasks == ["cifar10"]
    scores = graphs.column("cifar10")
    assert scores.isfinite().all() and float(scores.max()) == pytest.approx(94.3176, abs=1e-4)
    order = torch.randint(423_624, (100_000,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(graphs.scores(graphs.indices[order], "cifar10"), scores[order])
    assert graphs.scores(graphs.space.sample(1_000), "cifar10").isfinite().all()
    size = pq.read_table(shared_benchmarks / "nas-bench-101.parquet", columns=["trainable_parameters"])
    size = torch.from_numpy(size["trainable_parameters"].to_numpy().astype(np.int64))
    assert torch.equal(graphs.space.parameters(graphs.indices[order]), size[order])


def test_official_cells_are_those_of_the_table(graphs: ScoreTable, shared_benchmarks: Path) -> None:
    source = shared_benchmarks / "official-format" / "nas-bench-101"
    table = ScoreTable.load("nas-bench-101", source)
    assert len(table.indices) == 91 and table.column("cifar10").isfinite().all()
    assert table.split("cifar10") == "validation" and graphs.split("cifar10") == "test"
    expected = graphs.scores(table.indices, "cifar10")
    torch.testing.assert_close(table.column("cifar10", "test"), expected, rtol=1e-6, atol=0)
    sizes = torch.tensor(load_benchmark("nas-bench-101", source)["cifar10_parameters"][:])
    assert torch.equal(table.space.parameters(table.indices), sizes)


def test_official_records_are_those_of_the_table(shared_benchmarks: Path) -> None:
    folder = shared_benchmarks / "official-format"
    official = load_benchmark("nas-bench-201", folder / "NATS-tss-v1_0-3ffb9-simple")
    assert len(official) == 3
    whole = pq.read_table(shared_benchmarks / "nas-bench-201.parquet").to_pylist()
    by_name = {row["architecture"]: row for row in whole}
    for row in official.to_list():
        expected = by_name[row.pop("architecture")]
        assert row == pytest.approx({name: expected[name] for name in row}, rel=1e-6)
    sizes = load_benchmark("nats-bench-size", folder / "NATS-sss-v1_0-50262-simple").to_list()
    tests = {row["architecture"]: round(row["cifar10_test_accuracy"], 2) for row in sizes}
    assert tests == {"8:8:8:8:8": 79.79, "8:8:8:16:32": 85.77, "8:8:40:32:40": 89.51}
    space = get_space("nats-bench-size")
    rows = space.from_strings(list(tests))
    assert space.parameters(rows, "cifar100").tolist() == [row["cifar100_parameters"] for row in sizes]


@pytest.mark.parametrize(
    ("name", "file", "rows", "task", "measured", "best"),
    [
        ("nas-bench-macro", "nas-bench-macro", 6_561, "cifar10", 6_561, 93.1267),
        ("transnas-bench-101-micro", "transnas-bench-101-micro", 4_096, "class_scene", 4_096, 54.9363),
        ("transnas-bench-101-macro", "transnas-bench-101-macro", 3_256, "room_layout", 3_256, None),
        ("mnasnet", "accel-nasbench-imagenet", 5_125, "imagenet1k", 5_125, 67.0520),
        ("darts", "nas-bench-301", 11_946, "cifar10", 725, 94.4889),
        ("nas-bench-nlp", "nas-bench-nlp-wikitext2", 265, "wikitext2", 263, -4.5676),
        ("nas-bench-bert", "nas-bench-bert", 491, "glue", 490, 75.13),
    ],
)
def test_shared_tables(
    name: str, file: str, rows: int, task: str, measured: int, best: float | None, shared_benchmarks: Path
) -> None:
    path = shared_benchmarks / f"{file}.parquet"
    table = ScoreTable.load(name, path)
    assert len(table.indices) == rows and task in table.tasks
    assert load_benchmark(name, path)["architecture"][:] == table.space.to_strings(table.indices)
    scores = table.column(task)
    assert int(scores.isfinite().sum()) == measured
    if best is not None:
        assert float(scores[scores.isfinite()].max()) == pytest.approx(best, abs=1e-4)


def test_tables_without_a_licence_are_looked_up_but_not_trained_on(tmp_path: Path) -> None:
    for name in ("autoformer-tiny", "hw-gpt-bench-s"):
        (tmp_path / f"{name}.parquet").write_bytes(b"")
    assert list(tables_in(tmp_path)) == ["autoformer-tiny", "hw-gpt-bench-s"]
    assert list(licensed_tables_in(tmp_path)) == ["hw-gpt-bench-s"]
    bundled = json.loads((Path(pkgen_hf.__file__).parent / "checkpoints/pkgen-base/training.json").read_text())
    without = [get_space(name) for name in list_spaces() if get_space(name).origin is not None]
    without = [space.name for space in without if space.origin.evaluation_only]
    assert len(without) == 3 and not {name.split("/")[0] for name in bundled["labels_read"]} & set(without)
