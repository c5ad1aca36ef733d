"""Publish a generated network on the Hub, with a card; without an option, only a local folder is written and checked.

    python examples/publish.py [NAME/REPOSITORY]
    python examples/publish.py NAME/REPOSITORY --push_to_hub    # after `hf auth login`

The folder ``network`` is what `transformers` loads: weights, configuration with the architecture, and a card. The
weights are fresh here; train the network before you publish it (recipes/train_network.py leaves the same folder).
"""

import argparse

import torch

from pkgen_hf import PKGenNetworkForImageClassification, PKGenPipeline
from pkgen_hf.publishing.cards import write_card
from pkgen_hf.publishing.network_cards import network_card
from pkgen_hf.publishing.push import plan, push

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("repo_id", nargs="?", default="your-name/first-network", metavar="NAME/REPOSITORY")
parser.add_argument("--push_to_hub", action="store_true", help="upload; without it nothing is sent")
options = parser.parse_args()

pipe = PKGenPipeline.from_pretrained("pkgen-base")
cell = pipe("nas-bench-201", task="cifar10", num_architectures=1).architectures[0]
torch.manual_seed(0)
network = PKGenNetworkForImageClassification.from_architecture(cell, num_labels=10)
network.save_pretrained("network")
write_card("network", network_card("network", options.repo_id))
upload = plan("network", options.repo_id)  # checks every file: nothing hidden, no token, a card that the Hub accepts
print(upload)
if options.push_to_hub:
    push(upload, private=True)
else:
    print("nothing was sent; --push_to_hub uploads it, into a private repository if there is none")
