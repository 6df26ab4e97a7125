# SPDX-License-Identifier: Apache-2.0
"""vLLM for CPUs on a folder of random weights, run by bench/peers.py with vLLM's own Python: one JSON
line of tok/s, prefill and decode apart by the difference of a long and a short answer."""

import argparse
import json
import os
import statistics
import time


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--threads", type=int, required=True)
    p.add_argument("--prompt", type=int, required=True)
    p.add_argument("--tokens", type=int, required=True)
    args = p.parse_args()
    os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": str(args.threads), "VLLM_LOGGING_LEVEL": "ERROR",
                   "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "HF_HUB_OFFLINE": "1"}  # fmt: skip
    from vllm import LLM, SamplingParams

    llm = LLM(args.model, dtype="bfloat16", max_model_len=args.prompt + args.tokens + 64, skip_tokenizer_init=True,
              enforce_eager=True, enable_prefix_caching=False, max_num_seqs=1)  # fmt: skip

    def seconds(n_prompt, n):
        ids = [(7 * i) % 250 for i in range(n_prompt)]
        t0 = time.monotonic()
        llm.generate([{"prompt_token_ids": ids}],
                     SamplingParams(temperature=0, max_tokens=n, ignore_eos=True, detokenize=False), use_tqdm=False)  # fmt: skip
        return time.monotonic() - t0

    seconds(16, 4)
    prefill = [args.prompt / seconds(args.prompt, 1) for _ in range(3)]
    decode = [args.tokens / (seconds(16, args.tokens + 1) - seconds(16, 1)) for _ in range(3)]
    print(json.dumps({f"pp{args.prompt}": {"tok_s": statistics.median(prefill)},
                      f"tg{args.tokens}": {"tok_s": statistics.median(decode)}}))  # fmt: skip


if __name__ == "__main__":
    main()
