"""The benchmark of training steps: rows of what there is on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench_training import main


def test_rows_of_a_preset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--preset", "nas-bench-201", "--cpu", "--total_batch_size", "4", "--steps", "1", "--untimed_steps", "1"]
    words += ["--mixed_precision", "no", "--dataloader_num_workers", "0", "--output", str(tmp_path / "rows.json")]
    main(words)
    record = json.loads((tmp_path / "rows.json").read_text())
    places = [(row["images_on_device"] > 0, row["channels_last"]) for row in record["rows"]]
    assert places == [(True, False), (True, True), (False, False), (False, True)]  # no graph on a CPU
    for row in record["rows"]:
        assert row["how"] == "eager" and not row["is_graph"] and row["batch"] == 4
        assert row["images_per_second"] > 0 and 0 <= row["waiting_share"] < 1 and row["first_seconds"] > 0
    shown = capsys.readouterr().out
    assert shown.count("kernel by kernel") == 4 and "from a loader" in shown


def test_a_space_without_presets_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--space", "nas-bench-macro", "--cpu"])
    assert "unknown space with presets: 'nas-bench-macro'" in str(ended.value.code)
