# SPDX-License-Identifier: Apache-2.0
"""`twinax serve` before its first request: where it may listen, and where its key can be read."""

import pathlib
import re
import socket
import urllib.error
import urllib.request

import pytest
import twinax_cli as cli

KEY = "sk-not-for-others"
NO_MODEL = "/no/such/model"  # what is wrong with the address is told before a model is looked at


def refused(*argv, env=None, code=1):
    done = cli.run("serve", NO_MODEL, *argv, env=env)
    assert done.returncode == code and done.stdout == "" and done.stderr.count("\n") == 1, done
    return done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_open_address_without_a_key(host):
    e = refused("--host", host, "--port", "0")
    for word in (host, "--api-key", "TWINAX_API_KEY", "--no-auth"):
        assert word in e, e
    assert e.count("serve:") == 1, e


def test_address_that_is_none():
    assert "'nowhere'" in refused("--host", "nowhere", "--no-auth")


def test_port_taken():
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
        e = refused("--port", port)
    assert f"127.0.0.1 port {port}" in e and "another program" in e and "--port" in e, e


def test_empty_key():
    """As a script gives it whose variable is not set: not a server that anybody may use."""
    assert "--api-key is empty" in refused("--api-key", "", code=2)
    assert "TWINAX_API_KEY is empty" in refused(env={"TWINAX_API_KEY": ""}, code=2)
    assert "at most" in refused("--api-key", "k" * 600, code=2)


def test_origin_that_is_none():
    assert "--cors: 'https://a/chat' is no origin" in refused("--cors", "https://b,https://a/chat", code=2)


@pytest.mark.parametrize("how", ["argument", "argument=", "environment"])
def test_key(how):
    """It is asked for, and no other user's `ps`, nor another rank, shows it."""
    argv = {"argument": ["--api-key", KEY], "argument=": [f"--api-key={KEY}"], "environment": []}[how]
    env = {} if argv else {"TWINAX_API_KEY": KEY}
    with cli.running("serve", cli.DEMO, "--port", "0", "--local", "--tp", "2", *argv, env=env) as p:
        url = re.search(r"http://\S+", p.stdout.readline().decode()).group(0)
        for pid in (p.pid, *cli.children(p.pid)):
            assert KEY.encode() not in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        for pid in cli.children(p.pid):
            assert KEY.encode() not in pathlib.Path(f"/proc/{pid}/environ").read_bytes()
        with pytest.raises(urllib.error.HTTPError) as told:
            urllib.request.urlopen(url + "/v1/models", timeout=60)
        assert told.value.code == 401
        asked = urllib.request.Request(url + "/v1/models", headers={"Authorization": f"Bearer {KEY}"})
        assert urllib.request.urlopen(asked, timeout=60).status == 200
        p.terminate()
        _, e = p.communicate(timeout=60)
        assert p.returncode == 0 and KEY.encode() not in e


@pytest.mark.parametrize("how", ["argument", "argument="])
def test_key_beside_a_file(folder, how):
    """Where twinax.conf is read the command line is read twice, the second time with its key wiped: what
    counts is the key, not the asterisks."""
    conf = folder / "twinax" / "twinax.conf"
    conf.parent.mkdir()
    conf.write_text(f"[serve]\nmodel = {cli.DEMO}\ntp = 1\n")
    conf.chmod(0o600)
    argv = {"argument": ["--api-key", KEY], "argument=": [f"--api-key={KEY}"]}[how]
    with cli.running("serve", "--port", "0", *argv, env={"XDG_CONFIG_HOME": str(folder)}) as p:
        url = re.search(r"http://\S+", p.stdout.readline().decode()).group(0)
        status = {}
        for key in KEY, "*" * len(KEY):
            asked = urllib.request.Request(url + "/v1/models", headers={"Authorization": f"Bearer {key}"})
            try:
                status[key] = urllib.request.urlopen(asked, timeout=60).status
            except urllib.error.HTTPError as e:
                status[key] = e.code
        p.terminate()
        p.communicate(timeout=60)
    assert status == {KEY: 200, "*" * len(KEY): 401}
