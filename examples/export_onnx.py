"""A generated network as an ONNX model, run by onnxruntime on a batch of images.

    python examples/export_onnx.py

Writes ``cell.onnx`` and compares it with the torch module. It needs ``pip install 'pkgen-hf[onnx]'``; without it, a
line says so and nothing is written.
"""

import sys
from importlib.util import find_spec

import torch

from pkgen_hf import PKGenPipeline

missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
if missing:
    print(f"skipped: {', '.join(missing)} not installed; pip install 'pkgen-hf[onnx]'")
    sys.exit()
import onnxruntime  # noqa: E402

pipe = PKGenPipeline.from_pretrained("pkgen-base")
cell = pipe("nas-bench-201", task="cifar10", num_architectures=1, max_parameters=5e5).architectures[0]
network = cell.build(num_classes=10).eval()  # train it here; its weights are what is exported
written = cell.export("cell.onnx", num_classes=10, state=network.state_dict())

session = onnxruntime.InferenceSession(written.path, providers=["CPUExecutionProvider"])
images = torch.randn(5, 3, 32, 32)
(logits,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
with torch.no_grad():
    difference = (torch.from_numpy(logits) - network(images)).abs().max().item()
print(f"{written.path}: {written.path.stat().st_size / 1e6:.1f} MB, logits of shape {tuple(logits.shape)}")
print(f"largest difference of onnxruntime and torch: {difference:.1e}")
