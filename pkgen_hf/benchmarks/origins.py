"""Where each benchmark's measurements come from: what was measured, licence, citation, and how many rows are all."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """What the card of a benchmark's data set says that its table does not.

    Parameters
    ----------
    title
        The benchmark's own name.
    measured
        One sentence: what the scores are.
    url
        Where its authors publish it.
    license
        The Hub's identifier of the licence that its authors give, ``"unknown"`` if they name none.
    citation
        BibTeX.
    whole
        Rows of the whole table, all of which are expected; None where only a part of a space was measured.
    partial
        Tasks that a whole table has not measured everywhere.
    """

    title: str
    measured: str
    url: str
    license: str
    citation: str
    whole: int | None = None
    partial: tuple[str, ...] = ()


def _bibtex(kind: str, key: str, title: str, author: str, where: str, year: int) -> str:
    place = {"inproceedings": "booktitle", "article": "journal"}[kind]
    return (
        f"@{kind}{{{key},\n  title = {{{title}}},\n  author = {{{author}}},\n  {place} = {{{where}}},\n"
        f"  year = {{{year}}}\n}}"
    )


PAPER = _bibtex(
    "inproceedings",
    "xie2025pgnag",
    "Prior Knowledge Guided Neural Architecture Generation",
    "Xie, Jingrong and Ji, Han and Sun, Yanan",
    "International Conference on Machine Learning",
    2025,
)
_NATS = _bibtex(
    "article",
    "dong2021nats",
    "{NATS-Bench}: Benchmarking {NAS} Algorithms for Architecture Topology and Size",
    "Dong, Xuanyi and Liu, Lu and Musial, Katarzyna and Gabrys, Bogdan",
    "IEEE Transactions on Pattern Analysis and Machine Intelligence",
    2021,
)
_TRANSNAS = _bibtex(
    "inproceedings",
    "duan2021transnas",
    "{TransNAS-Bench-101}: Improving Transferability and Generalizability of Cross-Task Neural Architecture Search",
    "Duan, Yawen and Chen, Xin and Xu, Hang and Chen, Zewei and Liang, Xiaodan and Zhang, Tong and Li, Zhenguo",
    "IEEE/CVF Conference on Computer Vision and Pattern Recognition",
    2021,
)
_TRANSNAS_MEASURED = (
    "Validation scores of the last epoch on seven vision tasks of Taskonomy, all the better the higher: accuracies in "
    "percent (classifications and segmentation), structural similarity (normal, autoencoder), and less the loss "
    "(room layout)."
)

# Latencies of a space's networks on devices, by the name of their data set: the space, and where they come from.
LATENCIES = {
    "hw-nas-bench": (
        "nas-bench-201",
        Origin(
            "HW-NAS-Bench",
            "Latencies in milliseconds, and where measured energy in millijoules, of the networks of NAS-Bench-201 on "
            "six devices: measured on edge GPU, Raspberry Pi 4, Edge TPU and Pixel 3, estimated for Eyeriss and FPGA.",
            "https://github.com/GATECH-EIC/HW-NAS-Bench",
            "mit",
            _bibtex(
                "inproceedings",
                "li2021hwnasbench",
                "{HW-NAS-Bench}: Hardware-Aware Neural Architecture Search Benchmark",
                "Li, Chaojian and Yu, Zhongzhi and Fu, Yonggan and Zhang, Yongan and Zhao, Yang and You, Haoran and "
                "Yu, Qixuan and Wang, Yue and Lin, Yingyan",
                "International Conference on Learning Representations",
                2021,
            ),
            whole=15_625,
        ),
    )
}

_ORIGINS = {
    "darts": Origin(
        "NAS-Bench-301",
        "Validation accuracies on CIFAR-10 that a surrogate of NAS-Bench-301 **predicts**; none of them is the result "
        "of a training. Cells without one are there for their costs.",
        "https://github.com/automl/nasbench301",
        "apache-2.0",
        _bibtex(
            "inproceedings",
            "zela2022surrogate",
            "Surrogate {NAS} Benchmarks: Going Beyond the Limited Search Spaces of Tabular {NAS} Benchmarks",
            "Zela, Arber and Siems, Julien Niklas and Zimmer, Lucas and Lukasik, Jovita and Keuper, Margret and "
            "Hutter, Frank",
            "International Conference on Learning Representations",
            2022,
        ),
    ),
    "mnasnet": Origin(
        "Accel-NASBench",
        "Validation accuracies of networks of the MnasNet space that were trained on ImageNet-1k with one cheap "
        "schedule, and their speed on accelerators.",
        "https://github.com/afzalxo/Accel-NASBench",
        "apache-2.0",
        _bibtex(
            "inproceedings",
            "ahmad2024accel",
            "{Accel-NASBench}: Sustainable Benchmarking for Accelerator-Aware {NAS}",
            "Ahmad, Afzal and Du, Linfeng and Xie, Zhiyao and Zhang, Wei",
            "ACM/IEEE Design Automation Conference",
            2024,
        ),
    ),
    "nas-bench-101": Origin(
        "NAS-Bench-101",
        "Accuracies on CIFAR-10, each the mean of three trainings.",
        "https://github.com/google-research/nasbench",
        "apache-2.0",
        _bibtex(
            "inproceedings",
            "ying2019nas",
            "{NAS-Bench-101}: Towards Reproducible Neural Architecture Search",
            "Ying, Chris and Klein, Aaron and Christiansen, Eric and Real, Esteban and Murphy, Kevin and "
            "Hutter, Frank",
            "International Conference on Machine Learning",
            2019,
        ),
        whole=423_624,
    ),
    "nas-bench-201": Origin(
        "NAS-Bench-201",
        "Accuracies on CIFAR-10, CIFAR-100 and ImageNet16-120, each the mean over the seeds that were trained.",
        "https://github.com/D-X-Y/NATS-Bench",
        "mit",
        _bibtex(
            "inproceedings",
            "dong2020nas",
            "{NAS-Bench-201}: Extending the Scope of Reproducible Neural Architecture Search",
            "Dong, Xuanyi and Yang, Yi",
            "International Conference on Learning Representations",
            2020,
        )
        + "\n"
        + _NATS,
        whole=15_625,
    ),
    "nas-bench-asr": Origin(
        "NAS-Bench-ASR",
        "100 less the phoneme error rate on TIMIT, in percent, the mean over the seeds that were trained.",
        "https://github.com/SamsungLabs/nb-asr",
        "unknown",
        _bibtex(
            "inproceedings",
            "mehrotra2021nas",
            "{NAS-Bench-ASR}: Reproducible Neural Architecture Search for Speech Recognition",
            "Mehrotra, Abhinav and Ramos, Alberto Gil C. P. and Bhattacharya, Sourav and Dudziak, Lukasz and "
            "Vipperla, Ravichander and Chau, Thomas and Abdelfattah, Mohamed S. and Ishtiaq, Samin and "
            "Lane, Nicholas Donald",
            "International Conference on Learning Representations",
            2021,
        ),
    ),
    "nas-bench-graph": Origin(
        "NAS-Bench-Graph",
        "Scores of graph neural networks on nine graphs: accuracies in percent, and for proteins the area under the "
        "curve in percent, which was not measured everywhere.",
        "https://github.com/THUMNLab/NAS-Bench-Graph",
        "apache-2.0",
        _bibtex(
            "inproceedings",
            "qin2022nas",
            "{NAS-Bench-Graph}: Benchmarking Graph Neural Architecture Search",
            "Qin, Yijian and Zhang, Ziwei and Wang, Xin and Zhang, Zeyang and Zhu, Wenwu",
            "Advances in Neural Information Processing Systems",
            2022,
        ),
        whole=26_206,
        partial=("proteins",),
    ),
    "nas-bench-macro": Origin(
        "NAS-Bench-Macro",
        "Test accuracies on CIFAR-10, each the mean of three trainings.",
        "https://github.com/xiusu/NAS-Bench-Macro",
        "apache-2.0",
        _bibtex(
            "inproceedings",
            "su2021prioritized",
            "Prioritized Architecture Sampling with {Monto-Carlo} Tree Search",
            "Su, Xiu and Huang, Tao and Li, Yanxi and You, Shan and Wang, Fei and Qian, Chen and Zhang, Changshui and "
            "Xu, Chang",
            "IEEE/CVF Conference on Computer Vision and Pattern Recognition",
            2021,
        ),
        whole=6_561,
    ),
    "nas-bench-nlp": Origin(
        "NAS-Bench-NLP",
        "Less the loss of recurrent language models, in nats per word, the mean over the trainings of a cell that "
        "ended well; null for cells of which none did.",
        "https://github.com/fmsnew/nas-bench-nlp-release",
        "apache-2.0",
        _bibtex(
            "article",
            "klyuchnikov2022nas",
            "{NAS-Bench-NLP}: Neural Architecture Search Benchmark for Natural Language Processing",
            "Klyuchnikov, Nikita and Trofimov, Ilya and Artemova, Ekaterina and Salnikov, Mikhail and "
            "Fedorov, Maxim and Filippov, Alexander and Burnaev, Evgeny",
            "IEEE Access",
            2022,
        ),
    ),
    "nats-bench-size": Origin(
        "NATS-Bench, size space",
        "Accuracies on CIFAR-10, CIFAR-100 and ImageNet16-120 after 90 epochs.",
        "https://github.com/D-X-Y/NATS-Bench",
        "mit",
        _NATS,
        whole=32_768,
    ),
    "transnas-bench-101-micro": Origin(
        "TransNAS-Bench-101, cells",
        _TRANSNAS_MEASURED,
        "https://github.com/yawen-d/TransNASBench",
        "mit",
        _TRANSNAS,
        whole=4_096,
    ),
    "transnas-bench-101-macro": Origin(
        "TransNAS-Bench-101, macro space",
        _TRANSNAS_MEASURED,
        "https://github.com/yawen-d/TransNASBench",
        "mit",
        _TRANSNAS,
        whole=3_256,
    ),
}


def origin(name: str) -> Origin:
    """The origin of a space's benchmark."""
    return _ORIGINS[name]
