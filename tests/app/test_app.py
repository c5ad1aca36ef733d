"""The app: its functions, its endpoint as a program calls it, and the page in a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported, as are the next two
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
gradio = pytest.importorskip("gradio", reason="the app needs gradio: pip install 'pkgen-hf[app]'")
from gradio_client import Client  # noqa: E402
from gradio_client.exceptions import AppError  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from pkgen_hf import Architecture, PKGenPipeline, ScoreTable, load_benchmark  # noqa: E402
from pkgen_hf.app.backend import ENDPOINT, Backend  # noqa: E402
from pkgen_hf.app.page import LOOK, build_app  # noqa: E402
from pkgen_hf.app.views import figures, front_plot, prior_bars, ranking  # noqa: E402
from pkgen_hf.cli.main import app as command_line  # noqa: E402


@pytest.fixture(scope="module")
def app() -> Any:
    return build_app()


@pytest.fixture(scope="module")
def address(app: Any) -> Iterator[str]:
    _, url, _ = app.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **LOOK)
    yield url
    app.close()


@pytest.fixture(scope="module")
def backend() -> Backend:
    return Backend()


def handler(app: Any, name: str) -> Any:
    """The function behind a button."""
    return next(block.fn for block in app.fns.values() if block.name == name)


def press(app: Any, space: str, task: str, **changed: Any) -> tuple[Any, ...]:
    settings: dict[str, Any] = {"number": 4, "seed": 0, "max_parameters": "", "min_parameters": ""}
    settings |= dict.fromkeys(("max_flops", "max_memory", "max_latency", "device"), "")
    settings |= {"steps": 1, "guidance": 1.0, "evaluations": "", "context": "", "batch_size": "", "memory_dtype": ""}
    return handler(app, "run")(space, task, *(settings | changed).values())


def test_a_kind_of_task_and_own_evaluations_show_nothing_measured(cell_table: ScoreTable) -> None:
    backend = Backend()
    kind = backend.generate("nas-bench-201", "image-classification", 2, max_parameters=0.5)
    assert kind.measured is None and all("measured" not in record for record in kind.records)
    assert all(record["parameters"] <= 500_000 for record in kind.records)
    own = backend.example_evaluations("nas-bench-201", "cifar100")
    assert backend.generate("nas-bench-201", None, 2, evaluations=own).measured is None
    named = backend.generate("nas-bench-201", "cifar100", 2, evaluations=own)
    assert named.measured is not None and named.measured.label == "validation accuracy on cifar100"
    other = backend.generate("nas-bench-201", "image-classification", 2, evaluations=own)
    assert other.measured is None and other.prior == kind.prior


def test_button_gives_what_the_pipeline_gives_with_pictures_and_files(app: Any, cell_table: ScoreTable) -> None:
    said, drawn, front, ranked, known, json_file, svg_file, *_, made = press(app, "nas-bench-201", "cifar100", seed=7)
    pipe = PKGenPipeline.from_pretrained()
    out = pipe("nas-bench-201", "cifar100", num_architectures=4, generator=torch.Generator().manual_seed(7))
    strings = [str(architecture) for architecture in out.architectures]
    content = json.loads(Path(json_file["value"]).read_text())
    assert [record["architecture"] for record in content["architectures"]] == strings
    measured = cell_table.scores(torch.tensor([one.indices for one in out.architectures]), "cifar100")
    assert [record["measured"] for record in content["architectures"]] == pytest.approx(measured.tolist())
    assert content["seed"] == 7 and content["task"] == "cifar100" and content["prior"]["evidence"] == "measured"
    with zipfile.ZipFile(svg_file["value"]) as archive:
        assert archive.namelist() == [f"nas-bench-201-0{k}.svg" for k in range(1, 5)]
        for name in archive.namelist():
            assert ElementTree.fromstring(archive.read(name)).tag.endswith("svg")
    assert 'role="status"' in said and "4 architectures of nas-bench-201" in said
    assert [drawn.count(f"{k}: {string}") for k, string in enumerate(strings, 1)] == [1] * 4  # in the pictures' alt
    assert all(f"<code>{string}</code>" in ranked for string in strings)
    assert "validation accuracy on cifar100, % against parameters, millions: 4 generated" in front
    assert f"The best of the generated ones has {max(measured):.2f} at" in front
    assert f"{measured[0]:.2f}</td>" in ranked and "validation accuracy on cifar100, in %" in ranked
    assert "best 20 of 15,625" in known

    *_, code_file, said = handler(app, "write_code")(made)
    assert "Python code of 4 networks" in said
    with zipfile.ZipFile(code_file["value"]) as archive:
        for record, name in zip(content["architectures"], archive.namelist(), strict=True):
            module = types.ModuleType("network")
            exec(archive.read(name), module.__dict__)
            network = module.build()
            assert sum(p.numel() for p in network.parameters()) == record["parameters"]
            assert network(torch.randn(2, 3, 32, 32)).shape == (2, 100)


@pytest.mark.parametrize("space", ["darts", "nas-bench-101", "nas-bench-nlp", "nats-bench-size"])
def test_page_is_well_formed_and_has_a_text_for_every_picture(backend: Backend, space: str) -> None:
    generation = backend.generate(space, None, 3)
    plot = front_plot(backend.front(generation))
    assert plot.count("<img") == 1 and "score of the ranking against parameters, " in plot  # no table is at hand
    drawn = figures(generation, generation.pictures())
    for html in (drawn, plot, ranking(generation), prior_bars(generation.prior)):
        tree = ElementTree.fromstring(html)  # closed tags, quoted attributes, nothing unescaped
        assert all(picture.get("alt") for picture in tree.iter("img"))
        assert next(tree.iter("h2")).text
    blocks = prior_bars(generation.prior).split("<h3>")[1:]
    first = [float(re.findall(r"width:([\d.]+)%", block)[0]) for block in blocks]
    largest = (100 * generation.prior.distribution().amax(1)).tolist()
    assert len(blocks) == min(24, len(largest))
    if len(largest) <= 24:  # all slots are shown, in their order
        assert first == pytest.approx(largest, abs=0.06)


def test_the_plot_leaves_out_what_was_not_measured(backend: Backend, cell_table: ScoreTable) -> None:
    front = backend.front(backend.generate("nas-bench-201", "cifar10", 3))
    assert front is not None
    first, second, _ = front.generated.tolist()
    best = max(first[1], second[1])
    front.generated[2, 1] = np.nan
    plot = front_plot(front)
    assert f"The best of the generated ones has {best:.2f} at" in plot and "nan" not in plot.split("<img")[0]


def test_own_evaluations_add_to_the_prior(app: Any, cell_table: ScoreTable) -> None:
    lines, said = handler(app, "fill_in")("nas-bench-201", "cifar10")
    assert 'role="status"' in said and lines.count("\n") == 11
    for line in lines.splitlines():  # what is offered as an example was measured
        string, score = line.rsplit(", ", 1)
        row = torch.tensor([Architecture.from_string("nas-bench-201", string).indices])
        assert float(score) == pytest.approx(float(cell_table.scores(row, "cifar10")), abs=0.01)
    opposite = "\n".join(f"{line.rsplit(', ', 1)[0]}, -{line.rsplit(', ', 1)[1]}" for line in lines.splitlines())
    means = []
    for text in (lines, opposite, lines.splitlines()[0]):  # any number
        _, _, _, ranked, known, json_file, *_ = press(app, "nas-bench-201", "cifar10", evaluations=text)
        content = json.loads(Path(json_file["value"]).read_text())
        num = text.count("\n") + 1
        assert content["num_evaluations"] == num and content["prior"]["evidence"] == "measured"
        counted = f"{num} evaluation{'s' * (num > 1)}"
        assert f"Ranked by the score predicted from {counted} and the prior; no other measurement" in ranked
        assert "best 20 of 15,625" in known
        means.append(sum(record["measured"] for record in content["architectures"]) / 4)
    assert min(means[0], means[2]) > means[1] + 4, means


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"number": 0}, "the number of architectures must be a whole number from 1 to 32, got 0"),
        ({"number": None}, "the number of architectures must be a whole number from 1 to 32, got None"),
        ({"seed": 1.5}, "the seed must be a whole number from 0"),
        ({"steps": 51}, "the number of steps must be a whole number from 1 to 50, got 51"),
        ({"guidance": -1}, "guidance_scale must be 0 to 10, got -1"),
        ({"max_parameters": "many"}, "Parameters at most, in millions: expected a number, or nothing for no limit"),
        ({"max_flops": "0"}, "the limit on multiply-adds must be above 0, in millions, got 0.0"),
        ({"max_flops": "nan"}, "the limit on multiply-adds must be above 0, in millions, got nan"),
        ({"evaluations": "|none~0|, 90"}, "line 1: "),
        ({"evaluations": "no score"}, "line 1: expected &#x27;architecture, score&#x27;, got &#x27;no score&#x27;"),
        ({"task": "cifar1"}, "Did you mean &#x27;cifar10&#x27;?"),
    ],
)
def test_errors_are_one_message_and_leave_the_results(app: Any, changed: dict[str, Any], said: str) -> None:
    task = changed.pop("task", "cifar10")
    message, *others = press(app, "nas-bench-201", task, **changed)
    assert message.startswith('<p role="alert">Error: ') and said in message
    assert all("__type__" in other and "value" not in other for other in others)


def test_limits_are_kept_and_shown(tmp_path: Path, cell_table: ScoreTable) -> None:
    measured = load_benchmark("nas-bench-201").with_format("arrow")[:]  # the package's own latencies, on one device
    milliseconds = pc.multiply(measured["cifar10_latency_s"], 1000.0)
    table = pa.table({"architecture": measured["architecture"], "cifar10_card_latency": milliseconds})
    pq.write_table(table, tmp_path / "nas-bench-201.parquet")
    app = build_app(latencies=tmp_path)
    most = float(np.quantile(milliseconds.to_numpy(), 0.2))
    limits = {"max_parameters": "0.5", "min_parameters": "0.1", "max_memory": "1.9", "max_flops": "90"}
    limits |= {"max_latency": f"{most:.3f}", "device": "card"}
    said, _, front, ranked, _, json_file, *_ = press(app, "nas-bench-201", "cifar10", **limits)
    assert 'role="status"' in said and "Latency, ms" in ranked and "Latency: on card." in ranked
    content = json.loads(Path(json_file["value"]).read_text())
    assert content["max_parameters"] == 500_000 and content["device"] == "card"
    assert content["max_memory"] == 1_900_000 and content["memory_dtype"] == "float32" and "Memory, MB" in ranked
    assert "Memory: in float32." in ranked
    by_string = dict(zip(table["architecture"].to_pylist(), milliseconds.to_pylist(), strict=True))
    for record in content["architectures"]:
        cost = Architecture.from_string("nas-bench-201", record["architecture"]).cost("cifar10")
        assert record["parameters"] == cost.parameters and 100_000 <= cost.parameters <= 475_000
        assert record["memory_bytes"] == 4 * cost.parameters and record["flops"] == cost.flops <= 90_000_000
        assert record["latency_ms"] == pytest.approx(by_string[record["architecture"]]) and record["latency_ms"] < most
    for changed, message in (
        ({"max_latency": "5"}, "a limit on latency needs a device, one of card"),
        ({"max_latency": "5", "device": "crad"}, "Did you mean &#x27;card&#x27;?"),
        ({"max_parameters": "0.01"}, "the smallest network of nas-bench-201 has 73,306 parameters"),
    ):
        said, *_ = press(app, "nas-bench-201", "cifar10", **changed)
        assert 'role="alert"' in said and message in said
    said, *_ = press(app, "nas-bench-graph", "cora", max_latency="5", device="card")
    assert "no table of latencies of nas-bench-graph is at hand" in said


def test_memory_is_limited_for_a_cache_and_a_type(app: Any) -> None:
    """As the command line does: one request for both."""
    cache = {"context": "4096", "batch_size": "2", "memory_dtype": "bfloat16"}
    _, _, _, ranked, _, json_file, *_ = press(app, "hw-gpt-bench-s", "openwebtext", max_memory="300", **cache)
    content = json.loads(Path(json_file["value"]).read_text())
    assert (content["context"], content["batch_size"], content["memory_dtype"]) == (4096, 2, "bfloat16")
    assert "Memory: in bfloat16, with a KV cache of 2 x 4,096 tokens." in ranked
    for record in content["architectures"]:
        network = Architecture.from_string("hw-gpt-bench-s", record["architecture"])
        cost = network.cost(context=4096, batch_size=2, memory_dtype="bfloat16")
        assert record["memory_bytes"] == cost.memory_bytes <= 300_000_000
    options = ["--max-memory", "300MB", "--context", "4096", "--batch-size", "2", "--memory-dtype", "bfloat16"]
    command = ["generate", "--space", "hw-gpt-bench-s", "--task", "openwebtext", "-n", "4", "--seed", "0", "--json"]
    printed = json.loads(CliRunner().invoke(command_line, [*command, *options]).stdout)
    assert printed["architectures"] == content["architectures"]
    for space, changed, message in (
        ("hw-gpt-bench-s", {"context": "many"}, "Tokens in the KV cache: expected a number, or nothing for the def"),
        ("hw-gpt-bench-s", {"batch_size": "1.5"}, "batch_size must be a whole number from 1, got 1.5"),
        (
            "hw-gpt-bench-s",
            {"context": "1e15"},
            "a KV cache has at most 1,000,000,000,000 tokens, got 1000000000000000",
        ),
        ("hw-gpt-bench-s", {"memory_dtype": "bfloat61"}, "Did you mean &#x27;bfloat16&#x27;"),
        ("nas-bench-201", {"context": "8"}, "context=8 has no effect: networks of nas-bench-201 have no KV cache"),
    ):
        task = "openwebtext" if space == "hw-gpt-bench-s" else "cifar10"
        said, *_ = press(app, space, task, **changed)
        assert 'role="alert"' in said and message in said


def test_fields_of_the_cache_are_shown_for_language_models(app: Any) -> None:
    for space, shown in (("hw-gpt-bench-s", True), ("nas-bench-201", False)):
        *_, context, batch_size = handler(app, "choose_space")(space)
        assert context["visible"] == batch_size["visible"] == shown and context["value"] == ""


def test_no_table_no_example(app: Any) -> None:
    _, said = handler(app, "fill_in")("nas-bench-asr", "timit")
    assert 'role="alert"' in said and "no table of measurements of nas-bench-asr" in said


def test_endpoint_for_programs(address: str) -> None:
    client = Client(address, verbose=False)
    text = client.predict("nas-bench-graph", "cora", 3, 5, api_name="/generate")
    record = json.loads(text)
    out = PKGenPipeline.from_pretrained()(
        "nas-bench-graph", "cora", num_architectures=3, generator=torch.Generator().manual_seed(5)
    )
    assert [one["architecture"] for one in record["architectures"]] == list(map(str, out.architectures))
    assert [one["parameters"] for one in record["architectures"]] == [
        one.cost("cora").parameters for one in out.architectures
    ]
    with pytest.raises(AppError, match="Did you mean 'nas-bench-201'"):
        client.predict("nas-bench-20", api_name="/generate")


def test_visitors_do_not_disturb_each_other(address: str, backend: Backend) -> None:
    client = Client(address, verbose=False)
    unlimited = [None] * (list(ENDPOINT.parameters).index("steps") - 4)
    calls = [("nas-bench-201", "cifar10", 4, 0, *unlimited, steps) for steps in (2, 20, 3, 11, 7, 30)]
    jobs = [client.submit(*call, api_name="/generate") for call in calls]  # all at once, of different steps
    for call, job in zip(calls, jobs, strict=True):
        assert json.loads(job.result(timeout=60)) == json.loads(backend.generate(*call).as_json())


def test_command_line_names_what_is_wrong(tmp_path: Path) -> None:
    result = CliRunner().invoke(command_line, ["app", "--checkpoint", "pkgen-bas"])
    assert result.exit_code == 1 and "Did you mean 'pkgen-base'" in result.stderr
    result = CliRunner().invoke(command_line, ["app", "--tables", str(tmp_path / "none")])
    assert result.exit_code == 1 and "no tables in a folder" in result.stderr


# ---------------------------------------------------------------------- in a browser


class Page:
    """The page in headless Chromium, which can reach this machine alone."""

    def __init__(self, address: str, width: int, downloads: Path) -> None:
        webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
        binary = shutil.which("chromium") or shutil.which("google-chrome")
        driver = shutil.which("chromedriver")
        if binary is None or driver is None:
            pytest.skip("needs chromium and its chromedriver")
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
            options.add_argument(argument)
        options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1")
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.get(address)
        self.wait("document.querySelector('#generate')")

    def wait(self, condition: str, seconds: float = 30) -> Any:
        end = time.monotonic() + seconds
        while not (found := self.driver.execute_script(f"return {condition}")):
            assert time.monotonic() < end, f"never true: {condition}; status: {self.status()}"
            time.sleep(0.05)
        return found

    def status(self) -> str:
        return self.driver.execute_script("return document.querySelector('#status').innerText")

    def press(self, name: str) -> None:
        find = "return [...document.querySelectorAll('button')].find(b => b.innerText.trim().startsWith(arguments[0]))"
        button = self.driver.execute_script(find, name)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        width = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return self.driver.execute_script(width)

    def requested(self) -> set[str]:
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [
            event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
        ]
        return {url for url in urls if not url.startswith(("data:", "blob:"))}


@pytest.mark.skipif(sys.platform != "linux", reason="the browser is looked for as on Linux")
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser(address: str, tmp_path: Path, width: int) -> None:
    page = Page(address, width, tmp_path)
    try:
        from selenium.webdriver import ActionChains, Keys
        from selenium.webdriver.common.by import By

        named = []
        page.wait("document.querySelectorAll('figure img').length == 8")  # before anything is pressed
        assert "8 architectures of nas-bench-201" in page.status()
        while "Generate" not in named and len(named) < 30:  # with the keyboard alone, to the button and through it
            ActionChains(page.driver).send_keys(Keys.TAB).perform()
            at = page.driver.switch_to.active_element
            named.append((at.get_attribute("aria-label") or at.text).split("\n")[0])
            if named[-1].startswith("How many"):
                at.send_keys(Keys.BACKSPACE, "7")
        groups = ["For a data set", "Search space", "Under a budget", "For my results", "Generate"]
        assert [name for name in named if name in groups] == groups and all(named)
        ActionChains(page.driver).send_keys(Keys.ENTER).perform()
        page.wait("document.querySelectorAll('figure img').length == 7")
        page.wait("[...document.querySelectorAll('.pk img')].every(i => i.complete && i.naturalWidth > 0 && i.alt)")
        assert page.driver.execute_script("return document.querySelectorAll('.pk-front img').length") == 1
        assert page.overflow() == 0
        assert "7 architectures of nas-bench-201" in page.status()

        page.press("For my results")
        page.wait("document.querySelector('#evaluations textarea')")
        box = page.driver.find_element(By.CSS_SELECTOR, "#evaluations textarea")
        box.send_keys("not an architecture")
        page.press("Generate")
        page.wait("document.querySelector('#status [role=alert]')")
        assert "line 1: expected 'architecture, score', got 'not an architecture'" in page.status()
        assert page.driver.execute_script("return document.querySelectorAll('figure img').length") == 7
        page.press("Fill in measured examples")
        page.wait("document.querySelector('#evaluations textarea').value.split('\\n').length == 12")
        page.press("Generate")
        page.wait("document.body.innerText.includes('predicted from 12 evaluations')")

        page.press("Download JSON")
        page.press("Download SVG")
        names = {"architectures.json", "drawings.zip"}
        if width < 600:  # once is enough, it takes seconds
            page.press("Write Python code")
            page.wait("[...document.querySelectorAll('button')].some(b => b.innerText == 'Download Python code')")
            page.press("Download Python code")
            names.add("networks.zip")
        end = time.monotonic() + 20
        while not names <= (done := {path.name for path in tmp_path.iterdir()}):
            assert time.monotonic() < end, f"downloaded only {done}"
            time.sleep(0.05)
        content = json.loads((tmp_path / "architectures.json").read_text())
        assert content["num_evaluations"] == 12 and len(content["architectures"]) == 7
        for name in names - {"architectures.json"}:
            with zipfile.ZipFile(tmp_path / name) as archive:
                assert len(archive.namelist()) == 7
        assert all(url.startswith(address) for url in page.requested())
        assert page.overflow() == 0
    finally:
        page.driver.quit()
