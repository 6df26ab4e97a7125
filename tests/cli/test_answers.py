# SPDX-License-Identifier: Apache-2.0
"""The demo model's golden answers, word for word; text to ids and back; chat; sampling."""

import re
import shutil
import unicodedata

import pytest
import twinax_cli as cli

TP = {"tp1": (), "tp2": ("--local", "--tp", "2")}
QUESTION = "<|im_start|>user\n{q}<|im_end|>\n<|im_start|>assistant\n"
EOS = 1023

TEXTS = [
    "plain words, 1,234.5 and a tab\tand two  spaces",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich",
    "日本語とcabo 한국어 עברית العربية ไทย",
    "a family: 👨‍👩‍👧‍👦, a flag: 🇩🇪, a skin: 👍🏽",
    "e\u0301 becomes \u00e9; \u200b is a space of no width; \ufeff too",
    " leading and trailing ",
    "lines\nand\r\nmore\n\n\n",
    "x",
]


# ---- golden answers ------------------------------------------------------------------------------


@pytest.mark.parametrize("tp", TP)
@pytest.mark.parametrize("i", range(20))
def test_golden_answer(i, tp):
    a = cli.answers()[i]
    argv = ["--prompt-ids", cli.comma(a["prompt_ids"]), "-n", "200", "--temp", "0", *TP[tp]]
    assert cli.ids_of(cli.good("run", cli.DEMO, *argv, "--ids").stdout) == a["answer_ids"][:-1]
    assert a["answer_ids"][-1] == EOS  # ends the answer, and is no part of it
    assert cli.good("run", cli.DEMO, *argv).stdout == a["a"] + "\n"


def test_there_are_twenty_answers():
    assert len(cli.answers()) == 20 and len({a["q"] for a in cli.answers()}) == 20


def test_template_and_tokenizer_give_the_golden_prompts():
    for a in cli.answers():
        done = cli.good("tokenize", cli.DEMO, "-p", QUESTION.format(q=a["q"]))
        assert cli.ids_of(done.stdout) == a["prompt_ids"]


# ---- chat ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tp", TP)
def test_chat_answers_each_line(tp):
    for a in cli.answers()[::7]:
        done = cli.good("run", cli.DEMO, *TP[tp], "--temp", "0", stdin=a["q"] + "\n")
        assert done.stdout == a["a"] + "\n"


def test_chat_keeps_its_history():
    """Each reply is that of a run whose prompt is the whole talk, as the template writes it."""
    talk, replies = "", []
    questions = [a["q"] for a in cli.answers()[:3]]
    for q in questions:
        talk += QUESTION.format(q=q)
        ids = cli.good("tokenize", cli.DEMO, "-p", talk).stdout.strip()
        done = cli.good("run", cli.DEMO, "--prompt-ids", ids, "--temp", "0", "-n", "200")
        replies.append(done.stdout)
        talk += done.stdout[:-1] + "<|im_end|>\n"
    done = cli.good("run", cli.DEMO, "--temp", "0", stdin="\n".join(questions))
    assert done.stdout == "".join(replies)


def test_chat_skips_empty_lines_and_ends_with_stdin():
    a = cli.answers()[1]
    done = cli.good("run", cli.DEMO, "--temp", "0", stdin=f"\n\r\n{a['q']}\r\n\n")
    assert done.stdout == a["a"] + "\n"
    assert cli.good("run", cli.DEMO, stdin="").stdout == ""


SYSTEM = "You are terse."


@pytest.mark.parametrize("system", ["", SYSTEM])
def test_chat_past_its_context_forgets_the_oldest(system):
    """It goes on with what fits, says so, and keeps the system prompt."""
    head = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    questions, turns, replies, forgotten = [a["q"] for a in cli.answers()[:4]], [], [], 0
    for q in questions:
        turns.append(QUESTION.format(q=q))
        ids = ""
        while not ids or (len(cli.ids_of(ids)) + 32 > 128 and len(turns) > 1):
            forgotten += bool(ids)
            del turns[: bool(ids)]
            ids = cli.good("tokenize", cli.DEMO, "-p", head + "".join(turns)).stdout
        done = cli.good("run", cli.DEMO, "--prompt-ids", ids.strip(), "--temp", "0", "-n", "200", "--ctx", "128")
        replies.append(done.stdout)
        turns[-1] += done.stdout[:-1] + "<|im_end|>\n"
    assert forgotten >= 1
    argv = ["--temp", "0", "--ctx", "128", *(["--system", system] if system else [])]
    done = cli.good("run", cli.DEMO, *argv, stdin="\n".join(questions))
    assert done.stdout == "".join(replies)
    told = re.findall(r"^\(context of 128 tokens: (\d+) of the oldest questions forgotten", done.stderr, re.MULTILINE)
    assert sum(map(int, told)) == forgotten, done.stderr


def test_question_longer_than_the_context():
    done = cli.run("run", cli.DEMO, "--ctx", "64", stdin="word, " * 100 + "\n")
    assert done.returncode == 1 and done.stdout == "" and "--ctx" in done.stderr, done


def test_system_is_of_a_chat():
    done = cli.run("run", cli.DEMO, "--system", SYSTEM, "-p", "x")
    assert done.returncode == 2 and "--system" in done.stderr


def test_start_to_first_token():
    """No limit here (bench has it): the figure only."""
    done = cli.good("run", cli.DEMO, "--prompt-ids", "1,2,3", "-n", "2")
    found = re.search(r"start (\d+) ms, 3 prompt tokens in ([0-9.]+) ms", done.stderr)
    assert found, done.stderr
    print(f"start {found.group(1)} ms, first token {found.group(2)} ms later")


# ---- text to ids and back ------------------------------------------------------------------------


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_round_trip(text):
    """The text as the model's normalizer, NFC, leaves it."""
    nfc = unicodedata.normalize("NFC", text)
    ids = cli.good("tokenize", cli.DEMO, "-p", text).stdout
    assert len(cli.ids_of(ids)) >= 1
    assert cli.good("detokenize", cli.DEMO, "-p", ids.strip()).stdout == nfc + "\n"
    assert cli.good("tokenize", cli.DEMO, stdin=text).stdout == ids
    assert cli.good("detokenize", cli.DEMO, stdin=ids).stdout == nfc + "\n"


def test_special_tokens_survive():
    text = "<|im_start|>user\nhi<|im_end|>"
    ids = cli.ids_of(cli.good("tokenize", cli.DEMO, "-p", text).stdout)
    assert ids[0] == 1022 and ids[-1] == EOS
    assert cli.good("detokenize", cli.DEMO, "-p", cli.comma(ids)).stdout == text + "\n"


def test_long_text_over_stdin():
    text = "".join(f"{i}: {TEXTS[i % len(TEXTS)]}\n" for i in range(3000))
    ids = cli.good("tokenize", cli.DEMO, stdin=text).stdout
    nfc = unicodedata.normalize("NFC", text)
    assert cli.good("detokenize", cli.DEMO, stdin=ids).stdout == nfc + "\n"


def test_prompt_text_equals_its_ids():
    text = "Two machines, one model."
    ids = cli.good("tokenize", cli.DEMO, "-p", text).stdout.strip()
    argv = ["-n", "24", "--temp", "0", "--ids", "--ignore-eos"]
    by_text = cli.good("run", cli.DEMO, "-p", text, *argv).stdout
    assert by_text == cli.good("run", cli.DEMO, "--prompt-ids", ids, *argv).stdout


# ---- sampling ------------------------------------------------------------------------------------


def sampled(*argv, tp="tp1", n=48):
    prompt = cli.comma(cli.answers()[0]["prompt_ids"])
    argv = ["--prompt-ids", prompt, "-n", n, "--ignore-eos", "--ids", *argv, *TP[tp]]
    return cli.good("run", cli.DEMO, *argv).stdout


def test_same_seed_same_text_and_other_seed_other_text():
    texts = {s: sampled("--temp", "1.5", "--seed", s) for s in ("1", "2", "18446744073709551615")}
    assert len(set(texts.values())) == 3
    assert texts["1"] == sampled("--temp", "1.5", "--seed", "1")
    assert texts["1"] == sampled("--temp", "1.5", "--seed", "1", tp="tp2")


@pytest.mark.parametrize(
    "cut", [("--top-p", "0.9"), ("--top-k", "40"), ("--min-p", "0.05")], ids=lambda c: c[0][2:]
)
def test_cuts_are_the_same_for_two_ranks(cut):
    hot = ["--temp", "3", "--seed", "7"]
    assert sampled(*hot, *cut) == sampled(*hot, *cut, tp="tp2")
    assert sampled(*hot, *cut) != sampled(*hot)


def test_cuts_to_one_candidate_are_greedy():
    greedy = sampled("--temp", "0")
    assert sampled("--temp", "1.5", "--top-k", "1") == greedy
    assert sampled("--temp", "1.5", "--top-p", "0.000001") == greedy
    assert sampled("--temp", "1.5", "--min-p", "1") == greedy
    assert sampled("--temp", "1.5") != greedy


@pytest.mark.parametrize("tp", TP)
def test_stop_cuts(tp):
    a = cli.answers()[0]
    argv = ["--prompt-ids", cli.comma(a["prompt_ids"]), "--temp", "0", "-n", "200", *TP[tp]]
    for stop in ("machines", "partial results", "."):
        done = cli.good("run", cli.DEMO, *argv, "--stop", stop)
        assert done.stdout == a["a"].partition(stop)[0] + "\n" and stop in a["a"]
    assert cli.good("run", cli.DEMO, *argv, "--stop", "no such text").stdout == a["a"] + "\n"


def test_n_and_end_of_text():
    a = cli.answers()[0]
    argv = ["--prompt-ids", cli.comma(a["prompt_ids"]), "--temp", "0", "--ids"]
    for n in (1, 2, 7):
        ids = cli.ids_of(cli.good("run", cli.DEMO, *argv, "-n", n).stdout)
        assert ids == a["answer_ids"][:n]
    beyond = cli.ids_of(cli.good("run", cli.DEMO, *argv, "-n", "60", "--ignore-eos").stdout)
    assert len(beyond) == 60 and beyond[: len(a["answer_ids"])] == a["answer_ids"]


def test_chat_without_a_template(folder):
    """The way out is that of the command line too, not of the API alone."""
    shutil.copytree(cli.DEMO, folder / "m")
    (folder / "m" / "tokenizer_config.json").unlink()
    done = cli.run("run", folder / "m", stdin="hello\n")
    assert done.returncode == 1 and "no chat template" in done.stderr and "-p TEXT" in done.stderr, done
