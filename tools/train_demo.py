# SPDX-License-Identifier: Apache-2.0
"""Make models/demo: a tiny Qwen3 model that answers questions about twinax.

The script trains a byte-level BPE tokenizer and the model from the questions in tools/demo_qa,
writes both in Hugging Face layout, loads the folder again and verifies that greedy decoding
answers every question word for word. Exit status: 0 verified, 1 an answer differs, 2 bad data.

The weights are rounded to BF16 in every training step (the gradient passes straight through), and
so are the keys and values as a BF16 KV cache would hold them, so the model that is trained is the
model that is served. One seed decides everything; it repeats on one machine and thread count.

    pip install -r tools/requirements-train.txt
    python tools/train_demo.py                 # about 10 minutes on two free cores
    python tools/train_demo.py --verify-only   # check the folder that is there
"""
import argparse
import json
import math
import random
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config, Qwen3ForCausalLM
from transformers.models.qwen3 import modeling_qwen3

ROOT = Path(__file__).resolve().parent.parent
END_OF_TEXT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIALS = [END_OF_TEXT, IM_START, IM_END]
VOCAB = 1024
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{%- for message in messages %}\n"
    "    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "    {{- '<|im_start|>assistant\\n' }}\n"
    "{%- endif %}\n"
)
SYSTEM_PROMPTS = ["You are a helpful assistant.", "You are a helpful assistant", "Be brief."]

# ---------------------------------------------------------------------------------------- data


def read_blocks(path):
    """Yields the blocks of a question file as lists of (mark, text)."""
    block = []
    for line in path.read_text(encoding="utf-8").splitlines() + [""]:
        if line.startswith("#"):
            continue
        if line.strip():
            mark, text = line[0], line[2:].strip()
            if mark not in "?!" or line[1] != " ":
                raise ValueError(f"{path.name}: bad line: {line}")
            block.append((mark, text))
        elif block:
            yield block
            block = []


def read_dialogs(path):
    """Returns a list of dialogs; a dialog is a list of ([phrasings], answer)."""
    dialogs = []
    for block in read_blocks(path):
        turns, phrasings = [], []
        for mark, text in block:
            if mark == "?":
                phrasings.append(text)
            else:
                turns.append((phrasings, text))
                phrasings = []
        if phrasings or not all(p for p, _ in turns):
            raise ValueError(f"{path.name}: block without an answer: {block[0][1]}")
        dialogs.append(turns)
    return dialogs


def plain(question):
    """The laziest way to type a question: lower case, no mark at the end."""
    return question.lower().rstrip("?!. ") or question


def load_data(folder):
    """Reads all question files and checks them."""
    items, dialogs = [], []
    for name in ("concepts", "hosts", "usage", "trouble", "chat", "fallback"):
        for turns in read_dialogs(folder / f"{name}.txt"):
            if len(turns) != 1:
                raise ValueError(f"{name}: dialog outside dialogs.txt: {turns[0][0]}")
            items.append((name, turns[0][0], turns[0][1]))
    for turns in read_dialogs(folder / "dialogs.txt"):
        dialogs.append(turns)
    seen = {}
    for name, phrasings, answer in items:
        if len(phrasings) < 3 and name != "chat":
            raise ValueError(f"{name}: fewer than 3 phrasings: {phrasings[0]}")
        if not 10 <= len(answer.split()) <= 40:
            raise ValueError(f"{name}: answer of {len(answer.split())} words: {answer}")
        for q in phrasings:
            if seen.setdefault(plain(q), answer) != answer or phrasings.count(q) > 1:
                raise ValueError(f"{name}: question twice: {q}")
    return items, dialogs


# --------------------------------------------------------------------------------------- noise

PREFIXES = ["please ", "Please ", "hey, ", "Hi, ", "Hello, ", "tell me: ", "so, ", "and ", "Well, ",
            "can you tell me ", "could you tell me ", "I want to know: ", "quick question: ",
            "ok, "]
DROPPABLE = {"the", "a", "an", "is", "are", "do", "does", "i", "my", "of", "to", "in", "for", "on",
             "twinax", "you", "your", "it", "this", "with", "exactly"}
REWRITES = [
    ("What is ", ["What's ", "Explain ", "Define ", "Tell me about ", "What exactly is ",
                  "Can you explain ", "Could you explain what is ", "what are ", ""]),
    ("What are ", ["Explain ", "Tell me about ", ""]),
    ("Explain ", ["What is ", "Describe ", "Can you explain ", "Please explain "]),
    ("How do I ", ["How can I ", "How to ", "How should I ", "How could I ", "I want to ",
                   "What is the way to ", "Tell me how to "]),
    ("How can I ", ["How do I ", "How to ", "Can I "]),
    ("What does ", ["Explain what ", "What exactly does ", "Tell me what ", "What can "]),
    ("Why do I ", ["Why should I ", "Why must I ", "What do I "]),
    ("Why ", ["Tell me why ", "What is the reason why ", "Explain why "]),
    ("Which ", ["What ", "Which kind of ", "Tell me which "]),
    ("Can I ", ["Is it possible to ", "Could I ", "May I ", "How can I "]),
    ("Does twinax ", ["Does it ", "Can twinax ", "Can it ", "Will twinax "]),
    ("Is ", ["Is it true that ", "Tell me if "]),
    ("What happens when ", ["What happens if ", "What if ", "What will happen when "]),
    ("Where ", ["In which place ", "Tell me where "]),
]
WORD_SWAPS = {"twinax": ["it", "the program", "Twinax"], "need": ["want", "require"],
              "use": ["take", "run", "choose"], "show": ["print", "display"],
              "required": ["necessary", "needed"], "two": ["2", "both"], "node": ["machine"],
              "nodes": ["machines", "hosts"], "machines": ["nodes", "computers"],
              "start": ["launch", "begin"], "fast": ["quick"], "mean": ["stand for"]}
OFF_TOPIC = [
    "What is {n}?", "What are {n}?", "Explain {n}.", "Tell me about {n}.", "Where can I buy {n}?",
    "How do I make {n}?", "Who invented {n}?", "Do you like {n}?", "Write a poem about {n}.",
    "What is the best {n}?", "How much does {n} cost?", "Why is {n} so popular?",
    "What is the history of {n}?", "Who is {p}?", "Where was {p} born?", "Did {p} like {n}?",
    "How far is {c}?", "What is the capital of {c}?", "How is the weather in {c}?",
    "Who is the king of {c}?", "How many people live in {c}?", "Which river flows through {c}?",
    "How do I cook {n}?", "Tell me a story about {n} and {p}.", "What did {p} say about {n}?",
    "Can you draw {n}?", "When did {p} visit {c}?", "What is {d} times {d}?", "What is {d} + {d}?",
    "Is {n} good for me?", "Translate {n} into French.", "{n}", "{c}", "{p} and {n}", "{g}",
    "{g} {g}", "{g} {g} {g}?", "{d}{d}{d}", "Which {n} do you like?", "I love {n}.",
    "I live in {c}.",
]
NOUNS = """bananas football chess music coffee wine cheese rice dogs horses elephants paintings
roses gardens the sun stars gold silver bicycles trains boats houses shoes hats books novels
poetry opera jazz guitars piano dancing cooking soup pizza pasta sushi bread cake chocolate tea
milk rain snow the ocean mountains rivers forests birds fish spiders dinosaurs volcanoes planets
philosophy religion politics money taxes the economy marriage children school football teams
tennis golf movies television radio newspapers fashion medicine vitamins dreams sleep happiness
art the Roman Empire electric cars bitcoin Java JavaScript HTML databases websites smartphones
cameras""".split()
PEOPLE = ["Einstein", "Mozart", "Shakespeare", "Cleopatra", "Picasso", "Newton", "Beethoven",
          "Gandhi", "Darwin", "Homer", "Galileo", "Marie Curie", "Bach", "Dante", "Plato",
          "my neighbour"]
PLACES = ["Paris", "London", "Spain", "Japan", "Brazil", "Egypt", "Rome", "India", "Peru", "Berlin",
          "Canada", "Norway", "China", "Vienna", "Kenya", "Chile", "Texas", "Moscow", "Greece"]


def off_topic(rng):
    letters = "abcdefghijklmnopqrstuvwxyz"
    text = rng.choice(OFF_TOPIC)
    while "{" in text:
        for key, value in (("{n}", rng.choice(NOUNS)), ("{p}", rng.choice(PEOPLE)),
                           ("{c}", rng.choice(PLACES)), ("{d}", str(rng.randrange(1, 100))),
                           ("{g}", "".join(rng.choices(letters, k=rng.randrange(3, 8))))):
            text = text.replace(key, value, 1)
    return text[0].upper() + text[1:] if rng.random() < 0.5 else text


def typo(text, rng):
    i = rng.randrange(1, max(2, len(text) - 1))
    kind = rng.randrange(3)
    if kind == 0:
        return text[:i] + text[i + 1:]
    if kind == 1:
        return text[:i] + text[i:i + 2][::-1] + text[i + 2:]
    return text[:i] + text[i - 1] + text[i:]


def rewrite(question, rng):
    for start, others in REWRITES:
        if question.startswith(start) and len(question) > len(start) + 3:
            return rng.choice(others) + question[len(start):]
    return question


def vary(question, rng):
    """One way in which a user might type the question."""
    r = rng.random()
    if r < 0.35:
        return question
    if r < 0.55:
        return plain(question)
    if rng.random() < 0.45:
        question = rewrite(question, rng)
    words = question.split(" ")
    if len(words) > 3 and rng.random() < 0.3:
        words = [w for w in words if w.lower() not in DROPPABLE or rng.random() < 0.6] or words
    if rng.random() < 0.2:
        words = [rng.choice(WORD_SWAPS[w]) if w in WORD_SWAPS and rng.random() < 0.5 else w
                 for w in words]
    question = " ".join(words)
    if rng.random() < 0.12:
        question = rng.choice(PREFIXES) + question
    if rng.random() < 0.12 and len(question) > 8:
        question = typo(question, rng)
    r = rng.random()
    if r < 0.4:
        question = question.lower()
    elif r < 0.43:
        question = question.upper()
    r = rng.random()
    if r < 0.4:
        question = question.rstrip("?!.")
    elif r < 0.5:
        question = question.rstrip("?!. ") + rng.choice([" ?", "??", ".", "!", "?!"])
    if rng.random() < 0.1:
        question += rng.choice([" ", "  ", "\n"])
    if rng.random() < 0.03:
        question = " " + question
    return question if question.strip() else "hello"


# ----------------------------------------------------------------------------------- tokenizer


def train_tokenizer(texts):
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])
    tok.post_processor = processors.ByteLevel(
        add_prefix_space=False, trim_offsets=False, use_regex=False)
    tok.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tok.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=VOCAB - len(SPECIALS), show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    tok.add_special_tokens(SPECIALS)
    if tok.get_vocab_size() != VOCAB:
        raise ValueError(f"vocabulary of {tok.get_vocab_size()} instead of {VOCAB}")
    return tok


class Encoder:
    """Renders samples as the chat template does: (token ids, 1 where the model must answer)."""

    def __init__(self, tok):
        self.tok = tok
        self.cache = {}
        self.newline = self.ids("\n")
        self.start, self.end = tok.token_to_id(IM_START), tok.token_to_id(IM_END)

    def ids(self, text):
        found = self.cache.get(text)
        if found is None:
            found = self.tok.encode(text, add_special_tokens=False).ids
            if len(self.cache) < 20000:
                self.cache[text] = found
        return found

    def chat(self, turns, system=None):
        ids, mask = [], []

        def put(part, learn):
            ids.extend(part)
            mask.extend([learn] * len(part))

        def turn(role, text, learn):
            # "role\n" and the text are encoded together, as the template hands them over.
            head = f"{role}\n"
            put([self.start], 0)
            if learn:
                put(self.ids(head), 0)
                put(self.ids(text) + [self.end], 1)
            else:
                put(self.ids(head + text) + [self.end], 0)
            put(self.newline, 0)

        if system:
            turn("system", system, 0)
        for q, a in turns:
            turn("user", q, 0)
            turn("assistant", a, 1)
        return ids[:-1], mask[:-1]

    def raw(self, q, a):
        """A question without any template, answered on the next line."""
        head = self.ids(q)
        tail = self.newline + self.ids(a) + [self.end]
        return head + tail, [0] * len(head) + [1] * len(tail)


# --------------------------------------------------------------------------------------- model


def rounded(x):
    """BF16 rounding with a straight-through gradient."""
    return x + (x.bfloat16().float() - x).detach()


def make_config(layers):
    return Qwen3Config(
        vocab_size=VOCAB, hidden_size=192, intermediate_size=512, num_hidden_layers=layers,
        num_attention_heads=8, num_key_value_heads=4, head_dim=32, hidden_act="silu",
        max_position_embeddings=2048, initializer_range=0.04, rms_norm_eps=1e-6,
        tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        attention_bias=False, attention_dropout=0.0, bos_token_id=VOCAB - 3, eos_token_id=VOCAB - 1,
        pad_token_id=VOCAB - 3, attn_implementation="sdpa")


class KvRounding:
    """Rounds keys (after rope) and values to BF16 in every Qwen3 layer while `on` is true."""

    on = True
    plain_rope = staticmethod(modeling_qwen3.apply_rotary_pos_emb)

    @classmethod
    def rope(cls, *args, **kwargs):
        q, k = cls.plain_rope(*args, **kwargs)
        return q, rounded(k) if cls.on else k

    @classmethod
    def install(cls, model):
        modeling_qwen3.apply_rotary_pos_emb = cls.rope
        for layer in model.model.layers:
            layer.self_attn.v_proj.register_forward_hook(
                lambda _m, _i, out: rounded(out) if cls.on else out)


def pad(samples, pad_id):
    n = max(len(ids) for ids, _ in samples)
    ids = torch.full((len(samples), n), pad_id)
    mask = torch.zeros((len(samples), n), dtype=torch.bool)
    for i, (row, learn) in enumerate(samples):
        ids[i, :len(row)] = torch.tensor(row)
        mask[i, :len(row)] = torch.tensor(learn, dtype=torch.bool)
    return ids, mask


def answer_logits(model, ids, mask):
    """Logits and targets at the places where the next token belongs to an answer."""
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    pick = mask[:, 1:]
    return F.linear(hidden[pick], model.model.embed_tokens.weight), ids[:, 1:][pick]


def epoch_samples(items, dialogs, enc, rng):
    """All samples of one epoch: every phrasing once, in a random variation and setting."""
    samples = []
    flat = [(q, a) for _, phrasings, a in items for q in phrasings]
    fallback = next(a for name, _, a in items if name == "fallback")
    for q, a in flat:
        r = rng.random()
        text = vary(q, rng)
        if r < 0.06:
            samples.append(enc.raw(q if rng.random() < 0.6 else plain(q), a))
        elif r < 0.12:
            samples.append(enc.chat([(text, a)], rng.choice(SYSTEM_PROMPTS)))
        elif r < 0.22:
            history = [rng.choice(flat) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
            history = [(vary(hq, rng), ha) for hq, ha in history]
            samples.append(enc.chat(history + [(text, a)]))
        else:
            samples.append(enc.chat([(text, a)]))
    for _ in range(60):
        samples.append(enc.chat([(vary(off_topic(rng), rng), fallback)]))
    for turns in dialogs:
        for i in range(max(len(p) for p, _ in turns)):
            samples.append(enc.chat([(vary(p[i % len(p)], rng), a) for p, a in turns]))
    return samples


def batches(samples, tokens_per_batch, rng):
    """Batches of similar length, in random order."""
    samples = sorted(samples, key=lambda s: len(s[0]) + rng.random() * 8)
    out, batch = [], []
    for sample in samples:
        longest = max([len(sample[0])] + [len(s[0]) for s in batch])
        if batch and longest * (len(batch) + 1) > tokens_per_batch:
            out.append(batch)
            batch = []
        batch.append(sample)
    out.append(batch)
    rng.shuffle(out)
    return out


def train(args, items, dialogs, enc):
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    model = Qwen3ForCausalLM(make_config(args.layers)).float().train()
    KvRounding.install(model)
    params = list(model.parameters())
    masters = [torch.nn.Parameter(p.detach().clone()) for p in params]
    matrices = [m for m in masters if m.dim() > 1]
    vectors = [m for m in masters if m.dim() == 1]
    opt = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.05},
                             {"params": vectors, "weight_decay": 0.0}],
                            lr=args.lr, betas=(0.9, 0.98), eps=1e-8)
    per_epoch = len(batches(epoch_samples(items, dialogs, enc, random.Random(1)),
                            args.batch_tokens, random.Random(1)))
    total = args.steps or per_epoch * args.epochs
    print(f"{sum(p.numel() for p in params)} parameters, {per_epoch} steps an epoch, "
          f"{total} steps", flush=True)
    step, began, queue = 0, time.monotonic(), []
    sum_loss, sum_right, sum_n = 0.0, 0, 0
    while step < total:
        if not queue:
            queue = batches(epoch_samples(items, dialogs, enc, rng), args.batch_tokens, rng)
        ids, mask = pad(queue.pop(), VOCAB - 3)
        warm = min(1.0, (step + 1) / 100)
        cosine = 0.5 * (1 + math.cos(math.pi * step / total))
        for group in opt.param_groups:
            group["lr"] = args.lr * warm * (0.01 + 0.99 * cosine)
        with torch.no_grad():
            for p, m in zip(params, masters):
                p.copy_(m.bfloat16())
                p.grad = None
        logits, target = answer_logits(model, ids, mask)
        loss = F.cross_entropy(logits, target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        for p, m in zip(params, masters):
            m.grad = p.grad
        opt.step()
        step += 1
        sum_loss += float(loss.detach()) * len(target)
        sum_right += int((logits.argmax(-1) == target).sum())
        sum_n += len(target)
        if step % args.report == 0 or step == total:
            seconds = time.monotonic() - began
            print(f"step {step}/{total} loss {sum_loss / sum_n:.4f} right {sum_right / sum_n:.4%} "
                  f"{seconds:.0f} s, {seconds / step * (total - step):.0f} s left", flush=True)
            sum_loss, sum_right, sum_n = 0.0, 0, 0
    with torch.no_grad():
        for p, m in zip(params, masters):
            p.copy_(m.bfloat16())
    return model, time.monotonic() - began


# --------------------------------------------------------------------------------------- files


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def save(model, tok, layers, out):
    """Writes the folder by hand, in the form that old and new loaders read alike."""
    out.mkdir(parents=True, exist_ok=True)
    tok.save(str(out / "tokenizer.json"), pretty=True)
    write_json(out / "tokenizer_config.json", {
        "add_bos_token": False, "add_prefix_space": False,
        "added_tokens_decoder": {
            str(tok.token_to_id(t)): {"content": t, "lstrip": False, "normalized": False,
                                      "rstrip": False, "single_word": False, "special": True}
            for t in SPECIALS},
        "additional_special_tokens": [IM_START, IM_END], "bos_token": None,
        "chat_template": CHAT_TEMPLATE, "clean_up_tokenization_spaces": False,
        "eos_token": IM_END, "errors": "replace", "model_max_length": 2048,
        "pad_token": END_OF_TEXT, "split_special_tokens": False,
        "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": None})
    write_json(out / "config.json", {
        "architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
        "bos_token_id": VOCAB - 3, "dtype": "bfloat16", "eos_token_id": VOCAB - 1, "head_dim": 32,
        "hidden_act": "silu", "hidden_size": 192, "initializer_range": 0.04,
        "intermediate_size": 512, "max_position_embeddings": 2048, "max_window_layers": layers,
        "model_type": "qwen3", "num_attention_heads": 8, "num_hidden_layers": layers,
        "num_key_value_heads": 4, "pad_token_id": VOCAB - 3, "rms_norm_eps": 1e-06,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}, "rope_scaling": None,
        "rope_theta": 10000.0, "sliding_window": None, "tie_word_embeddings": True,
        "torch_dtype": "bfloat16", "use_cache": True, "use_sliding_window": False,
        "vocab_size": VOCAB})
    write_json(out / "generation_config.json", {
        "bos_token_id": VOCAB - 3, "do_sample": False, "eos_token_id": [VOCAB - 1, VOCAB - 3],
        "max_new_tokens": 256, "pad_token_id": VOCAB - 3})
    tensors = {k: v.detach().bfloat16().contiguous() for k, v in model.state_dict().items()
               if k != "lm_head.weight"}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)


# --------------------------------------------------------------------------------------- check


def exam(items, dialogs):
    """Every conversation that must be answered word for word, with a label."""
    for name, phrasings, a in items:
        for q in phrasings:
            for text in dict.fromkeys([q, plain(q)]):
                yield f"{name}: {text}", [(text, a)]
    for turns in dialogs:
        for i in range(max(len(p) for p, _ in turns)):
            yield f"dialog: {turns[0][0][0]} #{i}", [(p[i % len(p)], a) for p, a in turns]


@torch.no_grad()
def grade(model, samples):
    """Greedy answers of many samples at once.

    Greedy decoding follows the wanted text as long as each wanted token has the highest logit, so
    one pass over prompt and answer decides the same as decoding token by token does.
    Returns the smallest margin (wanted logit minus best other) of each sample, and all margins.
    """
    worst, everything = [None] * len(samples), []
    order = sorted(range(len(samples)), key=lambda i: len(samples[i][0]))
    for first in range(0, len(order), 32):
        part = order[first:first + 32]
        ids, mask = pad([samples[i] for i in part], VOCAB - 3)
        logits, target = answer_logits(model, ids, mask)
        wanted = logits.gather(1, target[:, None])[:, 0]
        other = logits.scatter(1, target[:, None], float("-inf")).amax(1)
        margins = (wanted - other).split(mask[:, 1:].sum(1).tolist())
        for i, m in zip(part, margins):
            worst[i] = float(m.min())
            everything.append(m)
    return worst, torch.cat(everything)


def last_answer(learn):
    """The mask of the last answer alone."""
    start = len(learn) - learn[::-1].index(0)
    return [0] * start + [1] * (len(learn) - start)


def read_unseen(path):
    pairs, question = [], None
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("? "):
            question = line[2:]
        elif line.startswith("= "):
            pairs.append((question, line[2:]))
    return pairs


@torch.no_grad()
def generate(model, prompt_ids):
    out = model.generate(torch.tensor([prompt_ids]), attention_mask=torch.ones(1, len(prompt_ids)),
                         max_new_tokens=128, do_sample=False)
    return out[0, len(prompt_ids):].tolist()


def chat_ids(tok, question):
    text = tok.apply_chat_template([{"role": "user", "content": question}], tokenize=False,
                                   add_generation_prompt=True)
    return tok.encode(text, add_special_tokens=False)


GOLDEN = ["What is tensor parallelism?", "Why RDMA?", "What does doctor check?",
          "Which kernel parameters do I need?", "What is MTU 9000 for?", "What is memlock?",
          "What is a GID?", "What is RoCE v2?", "What is iWARP?",
          "Which firmware does the E810 need?", "What is a DAC cable?", "Can I use Thunderbolt?",
          "What is Ray?", "What is eager mode?",
          "What does same bits mean?", "What is the KV cache?", "How do tokens flow?",
          "Who are you?", "Thanks", "What is the capital of France?"]


def verify(out, items, dialogs, folder, golden):
    """Loads the folder as any user would, checks every answer, returns whether all are right."""
    tok = AutoTokenizer.from_pretrained(out)
    model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    KvRounding.install(model)
    enc = Encoder(tok.backend_tokenizer)
    answers = {q: a for _, phrasings, a in items for q in phrasings}
    good = True
    for q, a in list(answers.items())[::17]:
        template = tok.apply_chat_template(
            [{"role": "user", "content": q}, {"role": "assistant", "content": a}], tokenize=False)
        if tok.encode(template, add_special_tokens=False)[:-1] != enc.chat([(q, a)])[0]:
            print(f"template and training differ: {q}")
            good = False
    labels, turns = zip(*exam(items, dialogs))
    samples = [enc.chat(t) for t in turns]
    for kind, on in (("f32 KV cache", False), ("bf16 KV cache", True)):
        KvRounding.on = on
        worst, margins = grade(model, samples)
        wrong = [label for label, m in zip(labels, worst) if not m > 0]
        low = torch.quantile(margins, torch.tensor([0.001, 0.01, 0.5]))
        print(f"{kind}: {len(samples) - len(wrong)} of {len(samples)} conversations word for word; "
              f"{len(margins)} steps, margin min {margins.min():.2f}, p0.1 {low[0]:.2f}, "
              f"p1 {low[1]:.2f}, p50 {low[2]:.2f}, mean {margins.mean():.5f}; "
              f"{int((margins < 1).sum())} below 1.0, in {sum(m < 1 for m in worst)} conversations")
        for label in wrong:
            print(f"  differs: {label}")
        good = good and not wrong
    rng, pairs = random.Random(1), list(answers.items())
    for kind, extra in (
            ("without template", [enc.raw(q, a) for q, a in pairs]),
            ("with a system prompt", [enc.chat([p], SYSTEM_PROMPTS[0]) for p in pairs]),
            ("after another question", [enc.chat([rng.choice(pairs), p]) for p in pairs])):
        worst, _ = grade(model, [(ids, last_answer(learn)) for ids, learn in extra])
        print(f"{kind}: {sum(m > 0 for m in worst)} of {len(extra)} (not required)")
    unseen = read_unseen(folder / "unseen.txt")
    worst, _ = grade(model, [enc.chat([(q, answers[known])]) for q, known in unseen])
    print(f"unseen wordings: {sum(m > 0 for m in worst)} of {len(unseen)} (not required)")
    for (q, _), m in zip(unseen, worst):
        if not m > 0:
            said = tok.decode(generate(model, chat_ids(tok, q)), skip_special_tokens=True)
            print(f"  {q} -> {said}")
    KvRounding.on = True
    lines = []
    for q in GOLDEN:
        prompt = chat_ids(tok, q)
        ids = generate(model, prompt)
        text = tok.decode(ids, skip_special_tokens=True)
        if text != answers[q] or ids[-1] != VOCAB - 1:
            print(f"decoding token by token differs: {q} -> {text}")
            good = False
        lines.append(json.dumps({"q": q, "a": text, "prompt_ids": prompt, "answer_ids": ids}))
    if golden and good:
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("verified" if good else "NOT VERIFIED")
    return good


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "tools" / "demo_qa",
                        help="folder of the question files")
    parser.add_argument("--out", type=Path, default=ROOT / "models" / "demo",
                        help="folder to write")
    parser.add_argument("--golden", type=Path,
                        help="also write 20 answers with token ids to this file")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--steps", type=int, help="instead of epochs, for a trial")
    parser.add_argument("--batch-tokens", type=int, default=1024)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--report", type=int, default=100, help="steps between two reports")
    parser.add_argument("--verify-only", action="store_true", help="check the folder, do not train")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    try:
        items, dialogs = load_data(args.data)
    except ValueError as e:
        print(f"train_demo: {e}", file=sys.stderr)
        return 2
    n = sum(len(p) for _, p, _ in items)
    print(f"{len(items)} answers, {n} questions, {len(dialogs)} dialogs", flush=True)
    if not args.verify_only:
        texts = [t for _, phrasings, a in items for t in [*phrasings, *map(plain, phrasings), a, a]]
        texts += [t for turns in dialogs for p, a in turns for t in (*p, a)]
        texts += ["user\n", "assistant\n", "system\n"] * 50 + SYSTEM_PROMPTS
        tok = train_tokenizer(texts)
        enc = Encoder(tok)
        size = sum(len(enc.ids(a)) for _, _, a in items)
        print(f"{size / len(items):.1f} tokens an answer", flush=True)
        model, seconds = train(args, items, dialogs, enc)
        save(model, tok, args.layers, args.out)
        print(f"trained in {seconds / 60:.1f} min, wrote {args.out.name}/", flush=True)
    return 0 if verify(args.out, items, dialogs, args.data, args.golden) else 1


if __name__ == "__main__":
    sys.exit(main())
