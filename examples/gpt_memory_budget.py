"""Language models for devices of 100, 200 and 400 MB: weights in bfloat16 and the KV cache of 1,024 tokens.

    python examples/gpt_memory_budget.py

Prints the first-ranked decoder of HW-GPT-Bench within each budget, and saves the smallest as a transformers model
with fresh weights in ``gpt``; recipes/train_language_model.py --network gpt trains it.
"""

import torch
from transformers import AutoModelForCausalLM

from pkgen_hf import PKGenNetworkForCausalLM, PKGenPipeline

MEMORY = {"context": 1024, "batch_size": 1, "memory_dtype": "bfloat16"}

pipe = PKGenPipeline.from_pretrained("pkgen-base")
found = {}
for megabytes in (100, 200, 400):
    out = pipe("hw-gpt-bench-s", num_architectures=1, max_memory=megabytes * 1e6, **MEMORY)
    found[megabytes] = out.architectures[0]
    cost = out.architectures[0].cost(**MEMORY)
    memory = f"{cost.memory_bytes / 1e6:.1f} of {megabytes} MB"
    print(f"{memory}, {cost.parameters / 1e6:.1f} M parameters, score {out.scores[0]:.2f}")
    print(" ", out.architectures[0])

model = PKGenNetworkForCausalLM.from_architecture(found[100], vocab_size=8192, max_position_embeddings=1024)
model.save_pretrained("gpt")
model = AutoModelForCausalLM.from_pretrained("gpt", dtype=torch.bfloat16)
tokens = model.generate(torch.tensor([[1, 2, 3]]), max_new_tokens=5, do_sample=False)
size = model.num_parameters() / 1e6
print(f"gpt: {size:.1f} M parameters with 8,192 tokens; it continued 3 tokens to {tokens.numel()}")
