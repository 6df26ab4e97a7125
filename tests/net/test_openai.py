# SPDX-License-Identifier: Apache-2.0
"""The OpenAI API as the real client sees it."""
import concurrent.futures
import json
import os
import re
import socket
import time
import urllib.error
import urllib.request

import pytest

openai = pytest.importorskip("openai")
from net_server import Server  # noqa: E402

HELLO = [{"role": "user", "content": "Hello, who are you?"}]


def get(url, method="GET", body=None, headers=None):
    request = urllib.request.Request(url, method=method, headers=headers or {}, data=body)
    try:
        with urllib.request.urlopen(request, timeout=60) as r:
            return r.status, r.read()
    except urllib.error.HTTPError as e:
        return e.code, e.read()


def chat(client, name, **more):
    arguments = {"model": name, "messages": HELLO, "max_tokens": 12, "temperature": 0, **more}
    return client.chat.completions.create(**arguments)


def joined(stream):
    return "".join(c.choices[0].delta.content or "" for c in stream if c.choices)


def test_health_and_models(server, client, name):
    assert get(server.url + "/health")[0] == 200
    assert client.models.retrieve(name).id == name
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


def test_chat(client, name):
    r = chat(client, name)
    assert r.object == "chat.completion"
    assert r.choices[0].message.role == "assistant"
    assert r.choices[0].finish_reason in ("stop", "length")
    assert 1 <= r.usage.completion_tokens <= 12
    assert r.usage.total_tokens == r.usage.prompt_tokens + r.usage.completion_tokens
    assert r.usage.prompt_tokens > 1


def test_stream_is_the_same_text(client, name):
    whole = chat(client, name, max_tokens=24)
    chunks = list(chat(client, name, max_tokens=24, stream=True,
                       stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert joined(chunks) == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == \
        whole.choices[0].finish_reason
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert len({c.id for c in chunks}) == 1


def test_greedy_repeats(client, name):
    assert len({chat(client, name).choices[0].message.content for _ in range(3)}) == 1


def test_seed_repeats(client, name):
    def run(seed):
        return chat(client, name, temperature=1.5, seed=seed, max_tokens=32) \
            .choices[0].message.content
    assert run(7) == run(7)
    assert len({run(s) for s in range(6)}) > 1


def test_choices_differ_and_repeat(client, name):
    def run():
        r = chat(client, name, temperature=1.5, seed=3, n=3, max_tokens=32)
        assert [c.index for c in r.choices] == [0, 1, 2]
        return [c.message.content for c in r.choices]
    first = run()
    assert first == run()
    assert len(set(first)) > 1
    one = chat(client, name, temperature=1.5, seed=3, max_tokens=32)
    assert one.choices[0].message.content == first[0]


def test_stop_string(client, name):
    text = chat(client, name, max_tokens=32).choices[0].message.content
    if "TWINAX_MODEL" in os.environ and len(text) < 4:
        pytest.skip("this model's answer is too short to be stopped")
    middle = text[len(text) // 2:len(text) // 2 + 2]
    for stop in (middle, ["\x01never\x01", middle]):
        r = chat(client, name, max_tokens=32, stop=stop)
        assert r.choices[0].message.content == text[:text.index(middle)]
        assert r.choices[0].finish_reason == "stop"
        assert joined(chat(client, name, max_tokens=32, stop=stop, stream=True)) == \
            r.choices[0].message.content


def test_max_tokens(client, name):
    r = chat(client, name, max_tokens=1)
    assert r.usage.completion_tokens == 1
    r = client.chat.completions.create(model=name, messages=HELLO, max_completion_tokens=2,
                                       extra_body={"ignore_eos": True})
    assert r.usage.completion_tokens == 2 and r.choices[0].finish_reason == "length"


def test_completions(client, name):
    one = client.completions.create(model=name, prompt="The", max_tokens=5, temperature=0)
    assert one.object == "text_completion"
    many = client.completions.create(model=name, prompt=["The", "A"], n=2, max_tokens=5,
                                     temperature=0)
    assert [c.index for c in many.choices] == [0, 1, 2, 3]
    assert many.choices[0].text == many.choices[1].text == one.choices[0].text
    stream = client.completions.create(model=name, prompt="The", max_tokens=5, temperature=0,
                                       stream=True)
    assert "".join(c.choices[0].text for c in stream if c.choices) == one.choices[0].text
    ids = client.completions.create(model=name, prompt=[1, 2, 3], max_tokens=2)
    assert ids.usage.prompt_tokens == 3


def generated(server):
    text = get(server.url + "/metrics")[1].decode()
    return int(re.search(r"^twinax_generated_tokens_total (\d+)$", text, re.MULTILINE).group(1))


def test_cancel_in_mid_stream_then_ask_again(server, client, name):
    before = generated(server)
    for _ in range(3):
        stream = chat(client, name, max_tokens=2000, stream=True,
                      extra_body={"ignore_eos": True})
        for i, _chunk in enumerate(stream):
            if i == 3:
                break
        stream.close()
        begin = time.monotonic()
        assert chat(client, name, max_tokens=4).choices
        assert time.monotonic() - begin < 30
    assert generated(server) - before < 5000, "answers that nobody wanted were made to their end"


def test_client_that_vanishes_without_reading(server, client, name):
    host, port = server.url.removeprefix("http://").rsplit(":", 1)
    body = json.dumps({"messages": HELLO, "max_tokens": 2000, "ignore_eos": True}).encode()
    with socket.create_connection((host, int(port))) as s:
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                  % len(body) + body)
    assert chat(client, name, max_tokens=4).choices


@pytest.mark.parametrize("more, param", [
    ({"temperature": 9}, "temperature"), ({"temperature": "hot"}, "temperature"),
    ({"n": 0}, "n"), ({"max_tokens": 0}, "max_tokens"), ({"top_p": 0}, "top_p"),
    ({"stop": [""]}, "stop"), ({"logprobs": True}, "logprobs"),
    ({"messages": []}, "messages"), ({"messages": [{"content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
])
def test_bad_requests(client, name, more, param):
    with pytest.raises(openai.BadRequestError) as e:
        chat(client, name, **more)
    assert e.value.param == param
    assert param.split("[")[0] in e.value.message


def test_wrong_model(client):
    with pytest.raises(openai.NotFoundError) as e:
        chat(client, "no-such-model")
    assert e.value.code == "model_not_found"


def test_too_long(client, name):
    with pytest.raises(openai.BadRequestError) as e:
        chat(client, name, messages=[{"role": "user", "content": "word, " * 300000}])
    assert e.value.code == "context_length_exceeded"


def test_bad_json_and_size(server):
    url = server.url + "/v1/chat/completions"
    status, body = get(url, "POST", b'{"messages": [}')
    assert status == 400 and "column" in json.loads(body)["error"]["message"]
    assert get(url, "POST", b" " * (17 << 20))[0] == 413
    assert get(url)[0] == 405
    assert get(server.url + "/v2")[0] == 404


def test_concurrent_answers_do_not_mix(client, name):
    def run(i):
        messages = [{"role": "user", "content": f"Count to {i % 4}."}]
        more = {"messages": messages, "max_tokens": 16}
        if i % 2:
            return i % 4, joined(chat(client, name, stream=True, **more))
        return i % 4, chat(client, name, **more).choices[0].message.content
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        results = list(pool.map(run, range(32)))
    alone = dict(run(i) for i in range(4))
    assert len(set(alone.values())) > 1, "equal answers would hide a mixture"
    assert results == [(k, alone[k]) for k, _ in results]


def test_metrics(server, client, name):
    chat(client, name)
    status, text = get(server.url + "/metrics")
    values = dict(line.rsplit(b" ", 1) for line in text.splitlines() if not line.startswith(b"#"))
    assert status == 200 and values[b"twinax_up"] == b"1" and values[b"twinax_ranks"] == b"2"
    assert float(values[b"twinax_generated_tokens_total"]) > 0
    assert float(values[b"twinax_generated_tokens_per_second"]) > 0
    for line in text.splitlines():
        assert line.startswith(b"# ") or line.startswith(b"twinax_"), line


def test_template_variables(client, name):
    """What the template does not know changes nothing; what is the server's own is refused."""
    plain = chat(client, name).choices[0].message.content
    more = {"chat_template_kwargs": {"enable_thinking": False, "colour": "blue"}}
    assert chat(client, name, extra_body=more).choices[0].message.content == plain
    for bad in {"messages": []}, {"add_generation_prompt": False}, "text":
        with pytest.raises(openai.BadRequestError) as e:
            chat(client, name, extra_body={"chat_template_kwargs": bad})
        assert "chat_template_kwargs" in str(e.value)


def test_silent_crowd_keeps_nobody_out(server, client, name):
    """More silent connections than there are places, and the next one is served at once."""
    host, port = server.url.removeprefix("http://").split(":")
    crowd = []
    try:
        for i in range(600):
            s = socket.create_connection((host, int(port)), timeout=30)
            if i % 2:  # a request that does not come to its end
                s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            crowd.append(s)
        began = time.monotonic()
        assert get(server.url + "/health")[0] == 200
        assert chat(client, name).choices
        assert time.monotonic() - began < 30  # their time-out is 120 s
    finally:
        for s in crowd:
            s.close()
    assert get(server.url + "/health")[0] == 200


def test_key_and_shutdown():
    s = Server("--api-key", "sk-test")
    try:
        good = openai.OpenAI(base_url=s.url + "/v1", api_key="sk-test", max_retries=0, timeout=60)
        name = good.models.list().data[0].id
        assert chat(good, name, max_tokens=2).choices
        bad = openai.OpenAI(base_url=s.url + "/v1", api_key="sk-tesT", max_retries=0, timeout=60)
        with pytest.raises(openai.AuthenticationError):
            chat(bad, name)
        assert get(s.url + "/health")[0] == 200
        open_stream = chat(good, name, max_tokens=2000, stream=True,
                           extra_body={"ignore_eos": True})
        next(iter(open_stream))
    finally:
        s.stop()  # with a stream open: exit code 0, no child left
