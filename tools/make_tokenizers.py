#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/tokenizers: small tokenizers of every design we read, and golden encodings.

Needs tokenizers==0.23.3; run as `python3 tools/make_tokenizers.py`. The result is the same
on every run. Everything it trains on is written or generated here.

goldens.jsonl: first line {"names": [...], "templates": the ids of nothing with special tokens}, then
one string a line: {"t": text} or {"b": base64 of its bytes} and "h": for each tokenizer 16 hex digits,
8 of the ids without special tokens (as text, each followed by a space), 8 of the decoded text of the
ids with special tokens, a NUL, and the decoded text of those without and with skip_special. The digits
are FNV-1a, 64 bits folded to 32. Then lists of ids as nobody encodes them: {"r": numbers, of which the
ids are the remainders by each tokenizer's size} and "h" of 8 digits, of the decoded texts alone. In full the
results would be 2.5 MB. To see one: `python3 tools/make_tokenizers.py --show NAME TEXT`.
"""
import base64
import json
import random
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

SENTENCES = """
The quick brown fox jumps over the lazy dog, and then it doesn't want to run any more.
I'll say that we've seen what they'd do; it isn't ours, you're right: that's all he'd said.
Two machines share one model, and the cable between them carries every sum that they make.
A tokenizer cuts the text into pieces, looks each of them up, and gives a list of numbers back.
In 1969 people walked on the Moon; 384400 km away, 12,345.678 seconds later, at 3.14159 or 2.71828.
Fuchs, Dachs und Bär gehen über die Brücke; früher hieß die Straße anders, sagt der Müller.
Le garçon a mangé une pêche à l'été, où il était né; ça va très bien, merci beaucoup, naïve Zoë.
El niño comió una piña en la montaña mañana; ¿qué tal está el pingüino? ¡Muy bien, señor!
Il gatto è già sul tetto perché la città dorme; così finisce la storia più bella.
O coração não esquece a canção da manhã; amanhã então virão os irmãos.
Zażółć gęślą jaźń, powiedział żółw do ćmy, śpiąc na łące.
Příliš žluťoučký kůň úpěl ďábelské ódy nad řekou.
Съешь же ещё этих мягких французских булок, да выпей чаю; мороз и солнце, день чудесный.
Україна має їжака і ґедзя; Їжте борщ із часником щодня, друзі.
Η γρήγορη καφέ αλεπού πηδάει πάνω από τον τεμπέλη σκύλο, και τότε κοιμάται.
שועל חום מהיר קופץ מעל הכלב העצלן, והשמש זורחת על הים.
الثعلب البني السريع يقفز فوق الكلب الكسول، والشمس تشرق على البحر كل يوم.
तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है, और सूरज हर दिन उगता है।
দ্রুত বাদামী শিয়াল অলস কুকুরের উপর লাফ দেয়, সূর্য ওঠে।
விரைவான பழுப்பு நரி சோம்பேறி நாயைத் தாண்டுகிறது.
สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ วันนี้อากาศดีมาก
敏捷的棕色狐狸跳过了懒狗，两台机器共享一个模型，每天太阳都会升起。
天地玄黃，宇宙洪荒。日月盈昃，辰宿列張。寒來暑往，秋收冬藏。
素早い茶色の狐がのろまな犬を飛び越える。今日はいい天気ですね、コンピュータが二台あります。
빠른 갈색 여우가 게으른 개를 뛰어넘는다. 오늘은 날씨가 정말 좋네요, 그렇지 않습니까?
Con cáo nâu nhanh nhẹn nhảy qua con chó lười biếng; hôm nay trời đẹp lắm.
ეს არის სწრაფი ყავისფერი მელა, რომელიც ზარმაც ძაღლს ახტება.
Արագ շագանակագույն աղվեսը ցատկում է ծույլ շան վրայով։
ፈጣኑ ቡናማ ቀበሮ በሰነፉ ውሻ ላይ ይዘላል።
int main(void) { for (int i = 0; i < n; i++) { if (x[i] != 0) return -1; } return 0; }
def f(x, y=None):\n    \"\"\"Doc.\"\"\"\n    return [a ** 2 for a in x if a > 0] or y
<html><body class="a b">Hello &amp; goodbye</body></html> {"key": [1, 2.5e-3, true, null]}
#include <stdio.h>\n\tprintf("%d\\n", x->y & 0xFF);\n\n\n// end
SELECT name, COUNT(*) FROM users WHERE id >= 42 GROUP BY name; -- comment
😀 😂 👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 ❤️ ☃ ★ ½ ﬁ ① ㎏ Ⅷ
""".strip().split("\n")
SENTENCES = [s.replace("\\n", "\n").replace("\\t", "\t") for s in SENTENCES]

QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
        r"\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
SCRIPTS = r"\p{Han}+|[\u3040-\u30ff]+|\p{Thai}{1,2}+|\h{4}|\w+|\W"
MARK = "▁"


def corpus(rng):
    """Sentences and shuffled words of them, so that merges have something to count."""
    words = [w for s in SENTENCES[:29] for w in s.split(" ")]
    yield from SENTENCES
    for _ in range(400):
        yield " ".join(rng.choice(words) for _ in range(12))
    for s in SENTENCES:
        for _ in range(3):
            yield s


def added(extra=()):
    return [
        AddedToken("<|endoftext|>", special=True, normalized=False),
        AddedToken("<|im_start|>", special=True, normalized=False),
        AddedToken("<|im_end|>", special=True, normalized=False, rstrip=True),
        AddedToken("<mask>", special=True, normalized=False, lstrip=True),
        AddedToken("<|both sides|>", special=True, normalized=False, lstrip=True, rstrip=True),
        AddedToken("<tool_call>", special=False, normalized=False),
        AddedToken("<tool_call>x", special=False, normalized=False),
        AddedToken("WORD", special=False, normalized=True, single_word=True),
        AddedToken("Straße", special=False, normalized=True),
        AddedToken("e\u0301clair", special=False, normalized=True),
        AddedToken("été", special=False, normalized=False, single_word=True),
        AddedToken("    ", special=False, normalized=False),
        *extra,
    ]


def train(tok, vocab_size, alphabet, specials=(), limit_alphabet=None):
    options = {}
    if limit_alphabet is not None:  # the trainer's own choice among equally frequent ones is by chance
        counts = Counter("".join(corpus(random.Random(7))).replace(" ", ""))
        common = sorted(counts, key=lambda c: (-counts[c], c))
        alphabet = [*alphabet, *(c for c in common if c not in alphabet)][:limit_alphabet]
        options["limit_alphabet"] = len(alphabet)
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=list(specials), min_frequency=2,
                                  initial_alphabet=alphabet, show_progress=False, **options)
    tok.train_from_iterator(corpus(random.Random(7)), trainer)
    return tok


def rebuild(tok, edit):
    """What the library has no setter for is edited in the file."""
    data = json.loads(tok.to_str())
    edit(data)
    return Tokenizer.from_str(json.dumps(data, ensure_ascii=False))


def pair_strings(data):
    data["model"]["merges"] = [" ".join(m) for m in data["model"]["merges"]]


def template(tok, before, after=()):
    special = [(t, tok.token_to_id(t)) for t in {*before, *after}]
    return processors.TemplateProcessing(single=[*before, "$A", *after], special_tokens=special)


def byte_level(merges, pre, norm, size, ignore_merges=False, **options):
    tok = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tok.pre_tokenizer = pre
    if norm is not None:
        tok.normalizer = norm
    tok.decoder = decoders.ByteLevel()
    train(tok, size, pre_tokenizers.ByteLevel.alphabet(), **options)
    tok.add_tokens(added())
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    return rebuild(tok, pair_strings) if merges == "strings" else tok


def make_gpt2():
    return byte_level("strings", pre_tokenizers.ByteLevel(add_prefix_space=False), None, 1000)


def make_gpt2_prefix():
    tok = byte_level("pairs", pre_tokenizers.ByteLevel(add_prefix_space=True), normalizers.Lowercase(), 500)
    tok.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    return tok


def split_then_bytes(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def make_qwen():
    return byte_level("strings", split_then_bytes(QWEN), normalizers.NFC(), 1200)


def byte_chars():
    """GPT-2's letter for each byte."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = iter(range(0x100, 0x200))
    return [chr(b) if b in plain else chr(next(rest)) for b in range(256)]


BYTE_CHARS = byte_chars()


def make_llama3():
    tok = byte_level("pairs", split_then_bytes(LLAMA3), None, 1000)

    def edit(data):  # a whole word that no merge makes: only ignore_merges finds it
        data["model"]["ignore_merges"] = True
        vocab = data["model"]["vocab"]
        first = min(t["id"] for t in data["added_tokens"])
        for t in data["added_tokens"]:
            t["id"] += 2
        for k, word in enumerate(["Ġretokenized", "Ġзавтрак"]):
            word = "".join(BYTE_CHARS[b] for b in word.replace("Ġ", " ").encode())
            assert word not in vocab
            vocab[word] = first + k
    tok = rebuild(tok, edit)
    tok.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False), template(tok, ["<|endoftext|>"])])
    return tok


def make_scripts():
    """Every behaviour of Split, Digits, and classes that Oniguruma and PCRE2 read differently."""
    pre = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=False),
        pre_tokenizers.Split("--", "removed"),
        pre_tokenizers.Split(Regex(SCRIPTS), "isolated"),
        pre_tokenizers.Split(",", "merged_with_previous"),
        pre_tokenizers.Split(Regex(r"[(\[]"), "merged_with_next"),
        pre_tokenizers.Split(Regex(r"\s"), "contiguous"),
        pre_tokenizers.Split(Regex(r"[A-Z][a-z]*"), "isolated", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return byte_level("pairs", pre, normalizers.Sequence([
        normalizers.NFKD(), normalizers.Strip(left=True, right=True),
        normalizers.Replace(Regex(r"\s{2,}"), "  ")]), 700)


def byte_tokens():
    return ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]


def unmark_specials(data, names):
    """Byte tokens are ordinary: only the names stay in added_tokens."""
    data["added_tokens"] = [t for t in data["added_tokens"] if t["content"] in names]


def make_llama2():
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
    # Trained word by word; the finished tokenizer has no pre-tokenizer, as the original.
    tok.pre_tokenizer = pre_tokenizers.Split(MARK, "merged_with_next")
    train(tok, 1200, [MARK], byte_tokens(), limit_alphabet=250)

    def edit(data):
        unmark_specials(data, ["<unk>", "<s>", "</s>"])
        data["pre_tokenizer"] = None
        pair_strings(data)
    tok = rebuild(tok, edit)
    tok.decoder = decoders.Sequence([decoders.Replace(MARK, " "), decoders.ByteFallback(),
                                     decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tok.add_tokens(added())
    tok.post_processor = template(tok, ["<s>"])
    return tok


def make_gemma():
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Replace(" ", MARK)
    tok.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    train(tok, 900, [MARK], byte_tokens(), limit_alphabet=200)
    tok = rebuild(tok, lambda data: unmark_specials(data, ["<unk>", "<s>", "</s>"]))
    tok.decoder = decoders.Sequence([decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()])
    tok.add_tokens(added())
    tok.post_processor = template(tok, ["<s>"], ["</s>"])
    return tok


def make_metaspace(scheme, split, fuse, size):
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=fuse, byte_fallback=False))
    tok.pre_tokenizer = pre_tokenizers.Metaspace(MARK, scheme, split)
    if not split:
        tok.pre_tokenizer = pre_tokenizers.Sequence([tok.pre_tokenizer, pre_tokenizers.Split(MARK, "merged_with_next")])
    train(tok, size, [MARK], ["<unk>", "<s>", "</s>"], limit_alphabet=260)
    tok.pre_tokenizer = pre_tokenizers.Metaspace(MARK, scheme, split)
    tok.decoder = decoders.Metaspace(MARK, scheme, split)
    tok.add_tokens(added())
    tok.post_processor = template(tok, ["<s>"], ["</s>"])
    return tok


def make_metaspace_first():
    return make_metaspace("first", False, True, 900)


def make_metaspace_always():
    return make_metaspace("always", True, False, 700)


def make_digits():
    tok = make_metaspace("never", True, True, 600)
    tok.normalizer = normalizers.NFKC()
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Metaspace(MARK, "first", True)])
    return tok


def make_words():
    tok = Tokenizer(models.BPE(unk_token="<unk>"))
    tok.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase()])
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Whitespace()])
    train(tok, 500, [], ["<unk>"], limit_alphabet=200)
    tok.add_tokens(added())
    return tok


MAKERS = {
    "gpt2": make_gpt2, "gpt2-prefix": make_gpt2_prefix, "qwen": make_qwen, "llama3": make_llama3,
    "scripts": make_scripts, "llama2": make_llama2, "gemma": make_gemma,
    "metaspace-first": make_metaspace_first, "metaspace-always": make_metaspace_always,
    "digits": make_digits, "words": make_words,
}

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<mask>", "<|both sides|>", "<tool_call>",
            "<tool_call>x", "WORD", "Straße", "éclair", "e\u0301clair", "été", "    ", "<s>", "</s>",
            "<unk>", "<0x41>", "▁", "ſtraße", "word"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", "\u00a0", "\u3000", "\u2003", "\u200b",
          "\u180e", "\u0085", "\u2028", "\v", "\f", " \n ", "\u202f", "\ufeff"]
EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "❤️", "1️⃣", "🧑🏿‍🚀", "☃", "\U0001f9ff"]
CONTRACTIONS = ["I'll", "don't", "DON'T", "we've", "they'D", "x'ſ", "it'S", "'s", "'tis", "rock'n'roll",
                "o'clock's", "you’re", "'LL", "'Ve'm'd", "l'été"]
WHOLE = ["завтрак", "retokenized", "retokenizeds"]
NUMBERS = ["0", "12", "123", "1234", "12345678901234567890", "3.14159", "-1e-9", "0xFF", "1,000,000",
           "٣٤٥", "१२३", "½", "²³", "Ⅷ", "①②", "𝟘𝟙𝟚", "12:34:56", "10%", "1st 2nd"]
FORMS = ["é", "e\u0301", "ﬁne", "ſ", "İstanbul", "ΑΣ", "ẞß", "Å Å Å", "각", "각",
         "q\u0307\u0323", "q\u0323\u0307", "ｆｕｌｌ", "㎏", "ﷺ", "\u0344", "क़", "a\u0301\u0302\u0300\u0327",
         "\u0301x", "Ǆ", "ŉ", "\u1e9b\u0323", "ⅷ", "㍿", "\u2126", "🄰", "\u00bd1"]
BROKEN = [b"\xff", b"\x80\x80", b"a\xc3", b"a\xc3b", b"\xe2\x82", b"\xe2\x82x", b"\xf0\x9f\x98", b"\xf0\x9f\x98\xf0\x9f\x98\x80",
          b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xf5\x80", b"\xe0\x80\x80", b"ok\xfe\xffok",
          b"\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63", b"\xe1\xa0\xc0\x20\xf0\x90", b"\xf8\x88\x80\x80\x80"]
CODE = ["if (a&&b||!c) {\n    return x->y[3]++;\n}\n", "#define X(a) do { a; } while (0)\n", "\t\tx = {'a': 1, \"b\": [2]}\n",
        "https://example.com/a?b=c&d=%20#e", "C:\\path\\to", "a.b@c.org", "<a href='x'>y</a>", "$x^2_{ij}$", "``` py\n```",
        "--flag -- --x=1", "a/*b*/c//d", "foo(bar[baz(1,2)],3)", "...", "?!?!", "~~~", "__init__", "a_b-c", "((([[["]


def assigned(cp):
    return unicodedata.category(chr(cp)) not in ("Cn", "Cs", "Co")


def random_point(rng, points):
    kind = rng.random()
    if kind < 0.3:
        return chr(rng.randrange(0x20, 0x7F))
    if kind < 0.4:
        return rng.choice(" \n\t'")
    return chr(rng.choice(points))


def strings(rng):
    points = [cp for cp in range(1, 0x110000) if assigned(cp)]
    by_block = {}
    for cp in points:
        by_block.setdefault(cp >> 7, []).append(cp)
    yield from ["", "a", " ", "\0", "a\0b", "x" * 3000 + "y", "ab" * 5000, "é" * 300, " " * 500, "\n" * 100, "1" * 200,
                "a" + " " * 77 + "b", "▁" * 50 + "x", "😀" * 40, "a\u0301" * 60 + "\u0323" * 50,
                "x" + "\u0301\u0323" * 40, "".join(map(chr, range(1, 256)))]
    yield from SENTENCES
    for group in (SPECIALS, SPACES, EMOJI, CONTRACTIONS, WHOLE, NUMBERS, FORMS, CODE):
        yield from group
        yield from (f"Say {x} twice" for x in group)
        yield from (f" {x}" for x in group)
        yield from (f"a{x}b" for x in group)
    for a in SPECIALS:
        yield a + a
        for s in (" ", "  \n ", "x", "é", "_", "\u200d"):
            yield f"b{s}{a}{s}c"
            yield f"{a}{s}{rng.choice(SPECIALS)}{s}"
    yield from BROKEN
    yield from (b"Hello " + b + b" w\xc3\xb6rld" for b in BROKEN)
    words = [w for s in SENTENCES for w in s.split(" ")]
    pool = SPECIALS + SPACES + EMOJI + CONTRACTIONS + NUMBERS + FORMS + CODE + words
    for _ in range(520):
        yield "".join(rng.choice(pool) + rng.choice(["", " ", " ", "\n"]) for _ in range(rng.randrange(1, 7)))
    for block in sorted(by_block):  # each block of 128 code points once, the CJK ones thinned out
        if 0x34 <= block >> 1 < 0xD7 and block % 16:
            continue
        if 0x170 <= block >> 1 < 0x325 and block % 64 or block >= 0x400 and block % 64:
            continue
        yield " ".join(map(chr, rng.sample(by_block[block], min(5, len(by_block[block])))))
    for _ in range(450):
        yield "".join(random_point(rng, points) for _ in range(rng.randrange(1, 10)))
    for _ in range(120):
        yield bytes(rng.choice(b"ab \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xff\xed\xa0") for _ in range(rng.randrange(1, 9)))


def same_but_template(tok, plain, special):
    """Do the two differ only by the template's ids?"""
    empty = tok.encode("", add_special_tokens=True).ids
    return any(special == empty[:k] + plain + empty[k:] for k in range(len(empty) + 1))


def fold(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{(h >> 32) ^ (h & 0xFFFFFFFF):08x}"


def golden(tok, text):
    plain = tok.encode(text, add_special_tokens=False).ids
    special = tok.encode(text, add_special_tokens=True).ids
    assert same_but_template(tok, plain, special)
    out = [tok.decode(special, skip_special_tokens=False), tok.decode(plain, skip_special_tokens=True)]
    return fold("".join(f"{i} " for i in plain).encode()) + fold("\0".join(out).encode())


def golden_ids(tok, numbers):
    ids = [r % tok.get_vocab_size() for r in numbers]
    return fold("\0".join(tok.decode(ids, skip_special_tokens=skip) for skip in (False, True)).encode())


def id_lists(rng):
    for k in range(400):
        end = [259, 300, 1 << 16][k % 3]  # the first of all ids are bytes in most of them
        yield [rng.randrange(0 if k % 2 else 3, end) for _ in range(rng.randrange(1, 12))]


def show(folder, name, text):
    tok = Tokenizer.from_file(str(folder / name / "tokenizer.json"))
    for special in (False, True):
        e = tok.encode(text, add_special_tokens=special)
        print(*e.ids)
        print(e.tokens, ascii(tok.decode(e.ids, skip_special_tokens=not special)))


def main():
    assert tokenizers.__version__ == "0.23.3", tokenizers.__version__
    folder = Path("tests/data/tokenizers")
    if sys.argv[1:2] == ["--show"]:
        show(folder, sys.argv[2], sys.argv[3])
        return
    toks = {}
    for name, make in MAKERS.items():
        tok = make()
        path = folder / name / "tokenizer.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(json.loads(tok.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n")
        assert path.stat().st_size <= 150 << 10, (name, path.stat().st_size)
        toks[name] = Tokenizer.from_file(str(path))
    templates = [t.encode("", add_special_tokens=True).ids for t in toks.values()]
    lines = [{"names": list(toks), "templates": templates}]
    rng = random.Random(42)
    for s in dict.fromkeys(strings(rng)):
        raw = s if isinstance(s, bytes) else s.encode()
        text = raw.decode(errors="replace")
        line = {"b": base64.b64encode(raw).decode()} if isinstance(s, bytes) or "\0" in s else {"t": s}
        line["h"] = "".join(golden(t, text) for t in toks.values())
        lines.append(line)
    for numbers in id_lists(rng):
        lines.append({"r": numbers, "h": "".join(golden_ids(t, numbers) for t in toks.values())})
    path = folder / "goldens.jsonl"
    path.write_text("".join(json.dumps(x, ensure_ascii=False, separators=(",", ":")) + "\n" for x in lines))
    print(len(lines) - 1, "strings,", path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
