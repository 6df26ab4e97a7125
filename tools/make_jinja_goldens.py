#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/jinja/*.json: template, context and what jinja2, set up as transformers sets it
up, renders. Templates are our own, in the manner of the families that models use."""
import datetime
import json
import pathlib
import sys

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.datetime(2025, 3, 9, 14, 5, 7)


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


def render(template, context):
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env.from_string(template).render(**context)


CHATML = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Functions\\n\\nThe functions are listed inside <tools></tools>:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n<|im_end|>\\n" }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(searching=true, last_query=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.searching and message.role == "user" and message.content is string and not(message.content.startswith('<reply>') and message.content.endswith('</reply>')) %}
        {%- set ns.searching = false %}
        {%- set ns.last_query = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if message.reasoning_content is string %}
            {%- set thought = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query %}
            {%- if loop.last or (not loop.last and thought) %}
                {{- '<|im_start|>' + message.role + '\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- '<|im_start|>' + message.role + '\\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}
                    {{- '\\n' }}
                {%- endif %}
                {%- if call.function %}
                    {%- set call = call.function %}
                {%- endif %}
                {{- '<call>\\n{"name": "' }}
                {{- call.name }}
                {{- '", "arguments": ' }}
                {%- if call.arguments is string %}
                    {{- call.arguments }}
                {%- else %}
                    {{- call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<reply>\\n' }}
        {{- content }}
        {{- '\\n</reply>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

PLAIN_CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
                "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
                "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")

HEADERS = """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{#- the first system message is taken out of the list #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- if tools_in_user_message and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first_user_message = messages[0]['content']|trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("Cannot put tools in the first user message when there is none!") }}
    {%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
    {{- "Answer with a JSON call of one of these functions.\\n\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user_message + "<|eot_id|>"}}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

INST = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{#- user and assistant take turns, calls apart #}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, conversation roles must alternate user/assistant/user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" }}
                {%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}
                {{- ", " }}
            {%- else %}
                {{- "]" + eos_token }}
            {%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool_results" or message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}
            {%- set content = message.content.content %}
        {%- else %}
            {%- set content = message.content %}
        {%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + content|string + ", " }}
        {{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of an initial optional system message!") }}
    {%- endif %}
{%- endfor %}
"""

TURNS = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% if messages[0]['content'] is string %}{% set prefix = messages[0]['content'] + '\\n\\n' %}{% else %}{% set prefix = messages[0]['content'][0]['text'] + '\\n\\n' %}{% endif %}{% set rest = messages[1:] %}{% else %}{% set prefix = "" %}{% set rest = messages %}{% endif %}
{%- for message in rest -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\\n' + (prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\\n'}}
{%- endif -%}
"""

MACROS = """{% macro one(m, open='<', close='>') %}
  {% if m.role == 'user' %}
{{ open ~ m.role ~ close }} {{ m.content }}
  {% else %}
    {% generation %}{{ m.content }}{% endgeneration %}

  {% endif %}
{% endmacro %}
{% macro all(list) -%}
  {%- for m in list %}{{ one(m, close='|') if loop.index is odd else one(m) }}{% endfor -%}
{%- endmacro %}
{{ all(messages) }}
{% set text %}
  [{{ messages | map(attribute='role') | join(', ') }}]
{% endset %}
{{ text | trim | upper }}
{% set a, b = messages | length, 'x' %}{{ a }}{{ b * 3 }}
"""

TOOLS = [
    {"type": "function",
     "function": {"name": "get_weather", "description": "Weather of a place \u2014 \"now\"",
                  "parameters": {"type": "object",
                                 "properties": {"place": {"type": "string"},
                                                "days": {"type": "integer", "default": 1}},
                                 "required": ["place"]}}},
    {"type": "function", "function": {"name": "noop", "parameters": {}}},
]
CALL = {"id": "call12345", "type": "function",
        "function": {"name": "get_weather", "arguments": {"place": "Zürich", "days": 2}}}
LISTS = {
    "user": [{"role": "user", "content": "Hello!"}],
    "system": [{"role": "system", "content": " Be brief.\n"}, {"role": "user", "content": "Hi\n"}],
    "turns": [{"role": "system", "content": "S"}, {"role": "user", "content": "1"},
              {"role": "assistant", "content": " <think>\nhm\n</think>\n\nA1 "},
              {"role": "user", "content": "  2 "}, {"role": "assistant", "content": "A2"},
              {"role": "user", "content": "日本 \U0001f600 \"q\" \\ ' {{ x }}"}],
    "calls": [{"role": "user", "content": "weather?"},
              {"role": "assistant", "content": "", "tool_calls": [CALL]},
              {"role": "tool", "content": "{\"t\": 3.5}", "tool_call_id": "call12345"}],
    "calls2": [{"role": "user", "content": "weather?"},
               {"role": "assistant", "content": "wait", "tool_calls": [CALL, CALL]},
               {"role": "tool", "content": "a", "tool_call_id": "call12345"},
               {"role": "tool", "content": "b", "tool_call_id": "call12345"},
               {"role": "assistant", "content": "It is a."}, {"role": "user", "content": "ok"}],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "a "}, {"type": "image"},
                                           {"type": "text", "text": "b"}]}],
    "wrong": [{"role": "user", "content": "1"}, {"role": "user", "content": "2"}],
    "empty": [],
}

# Small things, one a line: what has to agree to the letter. {"messages", "tools", x...} are at hand.
SMALL_CONTEXT = {
    "s": "Hello World", "u": "Grüße 日本\U0001f600", "n": 7, "f": 2.5, "t": True, "no": None,
    "l": [1, "two", 3.0, None, True, [4]], "d": {"b": 1, "a": {"x": [1, 2]}, "items": "hidden"},
    "words": ["b", "a", "C", "b"], "empty": [], "ws": " \t x \n", "q": "it's \"q\" \\ \n\u0001",
    "people": [{"name": "Ann", "age": 3, "ok": True}, {"name": "Bob", "age": 5, "ok": False},
               {"name": "Cy", "age": 4}],
    "big": 1e22, "small": 1e-7, "third": 0.1, "whole": 3.0,
}
SMALL = r"""{{ s }}|{{ u }}|{{ n }}|{{ f }}|{{ t }}|{{ no }}|{{ missing }}|
{{ l }}
{{ d }}
{{ big }} {{ small }} {{ third }} {{ whole }} {{ 1e16 }} {{ 123456789012345.0 }} {{ 1/3 }} {{ 1e15 + 0.5 }}
{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 * 3 + 4 }} {{ 2 + 3 * 4 }} {{ -n }} {{ 7.5 // 2 }} {{ -7.5 % 2 }}
{{ "a" ~ 1 ~ none ~ true ~ 1.5 }} {{ 'ab' * 2 }} {{ [1] * 2 }} {{ [1] + [2] }} {{ 'x' 'y' }}
{{ 1 < 2 < 3 }} {{ 3 > 2 > 2 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ "1" == 1 }} {{ "a" < "b" }} {{ [1,2] < [1,3] }}
{{ 'ell' in s }} {{ 'z' not in s }} {{ 'b' in d }} {{ 2 in l }} {{ 'two' in l }} {{ none in l }} {{ 'x' in missing }}
{{ not t }} {{ not not t }} {{ t and n }} {{ no or 'dflt' }} {{ '' or 0 or [] }} {{ n if t else f }} {{ n if no }}|
{{ s[0] }}{{ s[-1] }} {{ s[1:4] }} {{ s[::-1] }} {{ s[::2] }} {{ s[-3:] }} {{ s[:-3] }} {{ s[99] }}| {{ u[2:5] }} {{ u[::-1] }} {{ u|length }}
{{ l[0] }} {{ l[-1] }} {{ l[1:3] }} {{ l[::-1] }} {{ l[4:1:-1] }} {{ l[10:] }} {{ (1, 2, 3)[1:] }} {{ (1,) }} {{ () }}
{{ d.b }} {{ d['b'] }} {{ d.a.x[1] }} {{ d['items'] }} {{ d.get('zz') }} {{ d.get('zz', 5) }} {{ d.get('b') }} {{ d.nope }}| {{ no.x }}| {{ n.x }}|
{{ d.items() | list }} {{ d.keys() | list }} {{ d.values() | list }} {{ d | items | list }} {{ d | list }}
{{ s.upper() }} {{ s.lower() }} {{ "hello wORLD x1y".title() }} {{ u.upper() }} {{ 'hELLO' | capitalize }} {{ "they're" | title if false else '' }}
[{{ ws.strip() }}] [{{ ws.lstrip() }}] [{{ ws.rstrip() }}] [{{ ws | trim }}] {{ 'xxaxx'.strip('x') }} {{ 'abcab'.strip('ab') }} {{ 'xxa'.lstrip('x') }} {{ 'axx'.rstrip('x') }}
{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a b c'.split(none, 1) }} {{ ''.split() }} {{ ''.split(',') }} {{ 'a.b.c'.rsplit('.', 1) }} {{ "a\nb\r\nc".splitlines() }}
{{ s.startswith('He') }} {{ s.endswith(('x', 'ld')) }} {{ s.startswith('x') }} {{ s.replace('l', 'L') }} {{ s.replace('l', 'L', 1) }} {{ s | replace('o', '0') }} {{ 'ab'.replace('', '-') }} {{ s.find('W') }} {{ s.count('o') }} {{ '-'.join(words) }} {{ '12'.isdigit() }}
{{ l | length }} {{ s | length }} {{ d | length }} {{ missing | length }} {{ l | first }} {{ l | last }} {{ s | first }} {{ empty | first }}|
{{ words | join }} {{ words | join(', ') }} {{ people | join('/', attribute='name') }} {{ l | join('-') }}
{{ missing | default('x') }} {{ no | default('x') }} {{ no | default('x', true) }} {{ '' | d('y', boolean=true) }} {{ missing | default }}|
{{ '42' | int }} {{ 'x' | int }} {{ 'x' | int(9) }} {{ 3.9 | int }} {{ '3.7' | int }} {{ 5 | string ~ 'x' }} {{ 'ab' | list }} {{ -3 | abs }} {{ '2.5' | float }}
{{ people | map(attribute='name') | list }} {{ people | map(attribute='ok', default='?') | list }} {{ words | map('upper') | list }} {{ people | selectattr('ok') | map(attribute='name') | list }}
{{ people | selectattr('age', 'gt', 3) | list | length }} {{ people | rejectattr('age', 'equalto', 5) | map(attribute='name') | join(' ') }} {{ people | selectattr('ok', 'defined') | list | length }} {{ l | select('string') | list }} {{ l | reject('none') | list }} {{ [0, 1, 2] | select | list }} {{ [1,2,3] | select('odd') | list }}
{{ words | unique | list }} {{ words | reverse | list }} {{ 'abc' | reverse }} {{ words | sort }} {{ words | sort(reverse=true) }} {{ people | sort(attribute='age') | map(attribute='name') | list }} {{ d | dictsort | first }}
{{ l | tojson }} {{ d | tojson }} {{ u | tojson }} {{ q | tojson }} {{ u | tojson(ensure_ascii=true) }} {{ d | tojson(separators=(',', ':')) }} {{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}
{{ d | tojson(indent=2) }}
{{ [] | tojson(indent=2) }} {{ {} | tojson(indent=2) }} {{ [[], {}] | tojson(indent=1) }} {{ big | tojson }} {{ {1: 2, none: 3, true: 4} | tojson }}
{{ q }} {{ [q] }} {{ ["it's"] }} {{ ['"'] }} {{ [u] }} {{ {'k': (1, 'a')} }}
{{ n is number }} {{ f is number }} {{ t is number }} {{ t is boolean }} {{ n is integer }} {{ f is float }} {{ s is string }} {{ no is none }} {{ missing is defined }} {{ missing is undefined }} {{ no is defined }} {{ d is mapping }} {{ l is mapping }} {{ l is sequence }} {{ s is sequence }} {{ d is iterable }} {{ n is iterable }} {{ t is true }} {{ n is true }} {{ t is false }} {{ n is odd }} {{ n is even }} {{ n is divisibleby 7 }} {{ n is not string }} {{ s is lower }} {{ 'a' is lower }} {{ 1 is eq 1 }} {{ 'a' is in words }} {{ missing is string }} {{ missing is none }} {{ missing is iterable }} {{ missing is sequence }}
{{ range(3) | list }} {{ range(1, 4) | list }} {{ range(5, 0, -2) | list }} {{ dict(a=1, b='x') }} {{ strftime_now('%Y-%m-%d %H:%M:%S %d %B %Y') }}
{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}

{% for x in [] %}a{% else %}none{% endfor %} {% for x in missing %}a{% else %}none{% endfor %} {% for k, v in d.items() %}{{ k }}={{ v }} {% endfor %} {% for p in people if p.ok %}{{ p.name }}{{ loop.length }}{% else %}x{% endfor %} {% for c in 'abc' %}{{ c }}.{% endfor %} {% for k in d %}{{ k }},{% endfor %}

{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i > 4 %}{% break %}{% endif %}{{ i }}{% endfor %}

{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }} {% set ns = namespace(v=0, w='a') %}{% for i in [1, 2] %}{% set ns.v = ns.v + i %}{% endfor %}{{ ns.v }}{{ ns.w }}{{ ns.zz }}
{% if t %}{% set y = 5 %}{% endif %}{{ y }} {% if no %}a{% elif n == 7 %}b{% elif t %}c{% else %}d{% endif %}{% if no %}a{% elif no %}b{% else %}d{% endif %}

{% raw %}{{ not this }} {% nor this %}{% endraw %} {{ '{{' }} {{ '%}' }} {{ "\x41\u00e9\n\t\\\'\"\q\101" }}
a {#- gone -#} b {# gone #} c
   {% if t %}   
   kept
   {% endif %}
  {%+ if t %} plus {% endif +%}
 {{- ' tight ' -}} 
x
{% macro m(a, b='B', c=none) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(c=3, a=1) }}{{ m() }} {% macro fact(k) %}{% if k > 1 %}{{ k }}*{{ fact(k - 1) }}{% else %}1{% endif %}{% endmacro %}{{ fact(5) }}
{% set cap %}  in {{ n }}  {% endset %}[{{ cap }}] {% set cap | upper | trim %} x {% endset %}[{{ cap }}] {% set p, r = [1, 2] %}{{ p }}{{ r }} {{ 1, 2 }} {{ {'a': {'b': {}}} }} {{ {'a': 1}.a }}
{{ (s ~ '!') | upper | replace('O', '0') }} {{ 'a' in 'abc' and 'z' not in 'abc' }} {{ 1 ~ 2 * 3 }} {{ '%s' }} {{ 10 - 2 - 3 }} {{ 2 * (3 + 4) }} {{ -2 | abs }} {{ 'x' if not missing else 'y' }}
{{ words | map('replace', 'b', 'x') | join }} {{ "a\nb\n\nc" | indent(2) }} {{ "a\nb" | indent(2, true) }} {{ 'x' is defined and missing is not defined }} {{ (1 if t else 2) + 1 }} {{ d.a['x'][0] }} {{ people[0]['name'][0] }} {{ (l | length) - 1 }} {{ l[l | length - 1] }}"""

# Each must fail in jinja2 and in ours.
FAILING = [
    "{{ missing.x }}", "{{ missing[0] }}", "{{ missing + 1 }}", "{{ 1 + 'a' }}", "{{ 'a' + 1 }}",
    "{{ none + 'a' }}", "{{ missing() }}", "{{ n() }}", "{{ raise_exception('boom') }}",
    "{{ 1 // 0 }}", "{{ n | nofilter }}", "{{ n is notest }}", "{% if %}", "{% for x in l %}",
    "{{ 1 +", "{% endif %}", "{{ 'abc }}", "{% set x.y = 1 %}", "{{ (1 }}", "{{ l[ }}",
    "{# never", "{% for x in 5 %}{% endfor %}", "{{ n | length }}", "{% break %}",
    "{{ l.append(1) }}", "{{ missing | tojson }}", "{{ 1 < 'a' }}", "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
    "{{ {[1]: 2} }}", "{{ 5 in 'abc' }}", "{% unknown %}", "{{ d.get() }}", "{{ range(1, 2, 0) }}",
    "{% if t %}{% else %}{% else %}{% endif %}", "{{ 1 2 }}", "{% set a, b = [1] %}", "{{ }}",
    "{{ range(100001) | length }}",
]


def family_cases():
    families = {"chatml_tools": CHATML, "chatml": PLAIN_CHATML, "headers": HEADERS, "inst": INST,
                "turns": TURNS, "macros": MACROS}
    for name, template in families.items():
        cases = []
        for key, messages in LISTS.items():
            for tools in (None, TOOLS):
                for prompt in (True, False):
                    context = {"messages": messages, "tools": tools, "bos_token": "<s>",
                               "eos_token": "</s>", "add_generation_prompt": prompt}
                    cases.append({"name": f"{key}{'+tools' if tools else ''}"
                                          f"{'+prompt' if prompt else ''}", "context": context})
        yield name, template, cases


def expect(template, case):
    try:
        case["expected"] = render(template, case["context"])
    except (jinja2.exceptions.TemplateError, TypeError, ValueError, ZeroDivisionError,
            AttributeError, OverflowError, SyntaxError) as e:
        case["error"] = str(e)
    return case


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else
                       pathlib.Path(__file__).parent.parent / "tests/data/jinja")
    out.mkdir(parents=True, exist_ok=True)
    for name, template, cases in family_cases():
        cases = [expect(template, c) for c in cases]
        assert any("expected" in c for c in cases), name
        write(out / f"{name}.json", [{"template": template, "cases": cases}])
    groups = []
    for line in SMALL.split("\n") + [SMALL]:
        try:
            jinja2.Environment(extensions=[jinja2.ext.loopcontrols]).parse(line)
        except jinja2.exceptions.TemplateSyntaxError:
            continue  # a part of something longer
        case = expect(line, {"name": "small", "context": SMALL_CONTEXT})
        assert "expected" in case, (line[:200], case["error"])
        groups.append({"template": line, "cases": [{k: v for k, v in case.items()
                                                    if k != "context"}]})
    for line in FAILING:
        case = expect(line, {"name": "failing", "context": SMALL_CONTEXT})
        assert "error" in case, (line, case["expected"])
        groups.append({"template": line, "cases": [{k: v for k, v in case.items()
                                                    if k != "context"}]})
    write(out / "small.json", {"context": SMALL_CONTEXT, "groups": groups})


def write(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    main()
