# SPDX-License-Identifier: Apache-2.0
"""`twinax config`: every key, its value, and who says so."""

import json
import os
import re
import subprocess

import pytest
import twinax_cli as cli

pytestmark = pytest.mark.skipif(cli.missing_binary() is not None, reason=str(cli.missing_binary()))

CONF = """; a comment
[cluster]
nodes = here, box2=10.0.0.2
transport = rdma

[node.here]
ip = 10.0.0.1
threads = 3
[serve]
port = 9000
kv = f32
no_auth = no
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "twinax").mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in "TWINAX_API_KEY", "HF_TOKEN", "HF_ENDPOINT":
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "twinax" / "twinax.conf").write_text(CONF)
    return tmp_path


def settings(*argv, code=0, **more):
    done = cli.run("config", "--json", *argv, **more)
    assert done.returncode == code, done.stderr
    v = json.loads(done.stdout)
    assert v["schema"] == 1
    return v, {f"{s['section']}.{s['key']}": s for s in v["settings"]}


def test_who_says_what(home):
    v, s = settings()
    file = str(home / "twinax" / "twinax.conf")
    assert v["file"] == file and v["problems"] == []
    said = {"cluster.nodes": ("here, box2", 3), "cluster.transport": ("rdma", 4), "node.here.ip": ("10.0.0.1", 7),
            "node.here.threads": (3, 8), "node.box2.ip": ("10.0.0.2", 3), "serve.port": (9000, 10),
            "serve.kv": ("f32", 11), "serve.no_auth": (False, 12)}  # fmt: skip
    for key, x in s.items():
        if key in said:
            assert (x["value"], x["line"], x["source"], x["file"]) == (*said[key], "file", file), key
        elif x["section"] != "environment":
            assert x["source"] == "default" and "line" not in x, key
    assert s["serve.host"]["value"] == "127.0.0.1"
    assert s["node.box2.threads"]["value"] is None and s["node.box2.threads"]["meaning"] == "its cores"
    assert s["node.box2.ssh"]["value"] == "box2"
    assert s["serve.tp"]["value"] is None and s["serve.tp"]["meaning"] == "all nodes"


def test_defaults_are_those_of_the_program(home):
    """The words of the table, against what serve says and does."""
    (home / "twinax" / "twinax.conf").unlink()
    v, s = settings()
    assert v["file"] is None
    page = cli.good("help", "serve").stdout
    assert f"({s['serve.port']['value']})" in page and f"({s['serve.host']['value']})" in page
    assert s["serve.max_seqs"]["value"] == 4 and s["serve.chunk"]["value"] == 256
    assert s["environment.XDG_CONFIG_HOME"]["source"] == "env"


def test_flags_count_over_the_file(home):
    _, s = settings("org/name", "--port", "1234", "--kv=bf16", "--no-auth")
    assert (s["serve.port"]["value"], s["serve.port"]["source"], s["serve.port"]["name"]) == (1234, "flag", "--port")
    assert s["serve.kv"]["value"] == "bf16" and s["serve.no_auth"]["value"] is True
    assert s["serve.model"]["value"] == "org/name" and s["serve.model"]["name"] == "MODEL"
    assert s["cluster.transport"]["source"] == "file"


def test_every_key_that_serve_takes_as_an_option(home):
    """An option of serve that is a key of the file is an option of config too."""
    _, s = settings()
    keys = {x["key"].replace("_", "-") for x in s.values() if x["section"] in ("serve", "cluster")}

    def named(command):
        return set(re.findall(r"^ +(?:-., )?--([a-z-]+)", cli.good("help", command).stdout, re.MULTILINE))

    assert named("serve") & keys <= named("config")


@pytest.mark.parametrize("argv", [["--nodes", "a=10.1.1.1,b=10.1.1.2"], ["--local"], ["--tp", "1"]])
def test_what_makes_the_file_unread(home, argv):
    v, s = settings(*argv)
    assert v["file"] is None and s["serve.port"]["source"] == "default"
    if argv[0] == "--nodes":
        assert s["node.b.ip"]["value"] == "10.1.1.2" and s["node.b.ip"]["source"] == "flag"
        assert s["cluster.nodes"]["source"] == "flag"


@pytest.mark.parametrize("argv, named", [(["--port", "70000"], "--port"), (["--transport", "x"], "rdma"),
                                         (["--tp", "3"], "1, 2, 4 or 8"), (["a", "b"], "one MODEL"),
                                         (["--local", "--nodes", "a,b"], "one of them")])  # fmt: skip
def test_wrong_flags(home, argv, named):
    done = cli.run("config", *argv)
    assert done.returncode == 2 and named in done.stderr and done.stdout == ""


def test_what_is_wrong_is_named_and_the_rest_is_shown(home):
    (home / "twinax" / "twinax.conf").write_text(
        CONF + "prot = 1\nchunk = many\nthis is no key\n[srv]\nx = 1\n[cluster]\ntransport = tcp\n" + "x" * 300 + "\n"
    )
    v, s = settings(code=1)
    assert s["serve.port"]["value"] == 9000 and s["cluster.transport"]["value"] == "rdma"
    found = {p["line"]: p["text"] for p in v["problems"]}
    assert "did you mean 'port'?" in found[13] and "chunk 'many'" in found[14]
    assert "neither [section] nor key" in found[15] and "unknown section 'srv'" in found[17]
    assert "given twice" in found[19] and "longer line" in found[20]
    done = cli.run("config")
    assert done.returncode == 1 and "twinax.conf:13: " in done.stderr and "6 things are wrong" in done.stderr


def test_secrets_are_not_printed(home):
    key = home / "key"
    key.write_text("file-secret\n")
    key.chmod(0o600)
    conf = home / "twinax" / "twinax.conf"
    env = {"TWINAX_API_KEY": "env-secret", "HF_TOKEN": "hf_secret", "HF_ENDPOINT": "https://me:p@w-secret@hub.example"}
    _, s = settings(env=env)
    assert s["serve.api_key"]["source"] == "env" and s["environment.HF_TOKEN"]["secret"] is True
    conf.write_text(CONF + f"api_key_file = {key}\n")
    _, s = settings(env=env)
    assert (s["serve.api_key"]["source"], s["serve.api_key"]["line"]) == ("file", 13)
    _, s = settings("--api-key", "flag-secret", env=env)
    assert s["serve.api_key"]["source"] == "flag"
    for argv in (["--json"], [], ["--api-key", "flag-secret"]):
        done = cli.run("config", *argv, env=env)
        assert done.returncode == 0 and "secret" not in re.sub(r"/\S*secrets_are\S*|\"secret\": true", "", done.stdout + done.stderr), done.stdout
    key.chmod(0o644)
    v, _ = settings(env=env, code=1)
    assert any("chmod 600" in p["text"] for p in v["problems"])


def test_text_has_a_line_for_each(home):
    out = cli.good("config").stdout
    assert f"port             9000                             {home}/twinax/twinax.conf:10\n" in out
    assert out.count("\n[") == 5  # cluster, two nodes, serve, environment


@pytest.mark.skipif(os.geteuid() != 0, reason="a file of another user needs root")
def test_a_file_that_others_may_write_is_named(home):
    (home / "twinax" / "twinax.conf").chmod(0o666)
    done = subprocess.run([cli.BINARY, "config"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "is ignored" in done.stderr
