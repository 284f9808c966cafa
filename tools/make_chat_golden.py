#!/usr/bin/env python3
"""Golden renderings of chat templates, by jinja2 as transformers configures it.

  tools/make_chat_golden.py                                   testdata/chat/*.json, of the templates in testdata/chat/templates
  tools/make_chat_golden.py --out FOLDER TEMPLATE.jinja ...   of other templates, which the golden files then hold too

A golden file is {"template", "cases": [{"variables", "text" or "error"}]}. tests/chat_test reads testdata/chat and, if it is
set, the folder $KVPARETO_CHAT_GOLDEN. Needs the package jinja2.
"""
import argparse
import datetime
import json
import pathlib

import jinja2
import jinja2.ext
import jinja2.sandbox

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHAT = ROOT / "testdata" / "chat"
DAY = datetime.datetime(2024, 7, 26)

WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "The weather of a \"place\" & time", "parameters": {
    "type": "object", "properties": {"place": {"type": "string", "enum": ["Zürich", "北京"]}, "days": {"type": "integer", "default": 3}},
    "required": ["place"]}}}
TIME = {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {"type": "object", "properties": {}}, "return": {"type": "string"}}}
CALL = {"role": "assistant", "content": "", "tool_calls": [
    {"id": "call00001", "type": "function", "function": {"name": "get_weather", "arguments": {"place": "Zürich", "days": 2, "deep": {"a": [1, None, True, 0.5]}}}}]}
CONVERSATIONS = [
    [{"role": "user", "content": "Why is the sky blue?"}],
    [{"role": "system", "content": "  Be brief.\n"}, {"role": "user", "content": " Hi  \n"}, {"role": "assistant", "content": "\n Hello! "},
     {"role": "user", "content": "Bye\u3000"}],
    [{"role": "user", "content": "one"}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nONE"}, {"role": "user", "content": "two <|im_end|> {{ x }}"},
     {"role": "assistant", "content": "<think>\nsecond\n</think>\n\nTWO"}],
    [{"role": "user", "content": "Weather?"}, CALL, {"role": "tool", "content": "{\"celsius\": 21}", "name": "get_weather", "tool_call_id": "call00001"},
     {"role": "assistant", "content": "21 degrees."}, {"role": "user", "content": "Thanks"}],
    [{"role": "assistant", "content": "I begin."}, {"role": "user", "content": "No."}],
    [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
    [{"role": "system", "content": "only"}],
    [{"role": "user", "content": "ä\u2028\"quoted\" 'single' \\ back\t\x07 😀 <html> &"}],
]


def cases():
    users = [{"name": "Ann", "age": 30, "admin": True}, {"name": "Bob", "age": 20, "city": "Rome"}, {"name": "cid", "age": 25, "admin": False}]
    for messages in CONVERSATIONS:
        for more in ({}, {"tools": [WEATHER, TIME]}, {"add_generation_prompt": False, "enable_thinking": False}):
            yield {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>",
                   "users": users} | more


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


class Generation(jinja2.ext.Extension):
    """transformers' tag around what a model learns from: it prints its contents."""
    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def environment():
    made = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, Generation])
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = DAY.strftime
    return made


def golden(source):
    template = environment().from_string(source)
    rows = []
    for variables in cases():
        try:
            rows.append({"variables": variables, "text": template.render(**variables)})
        except Exception as error:  # noqa: BLE001 - whatever the template does wrong
            rows.append({"variables": variables, "error": f"{type(error).__name__}: {error}"})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("templates", nargs="*", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=CHAT)
    options = parser.parse_args()
    if options.templates and options.out == CHAT:
        parser.error("--out is needed: the templates of models do not belong into testdata")
    for path in options.templates or sorted((CHAT / "templates").glob("*.jinja")):
        source = path.read_text()
        rows = golden(source)
        value = {"template": source} if options.templates else {}
        seen = [json.dumps(row["variables"], ensure_ascii=False) for row in rows]
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        (options.out / f"{path.stem}.json").write_text("{" + "".join(f"{json.dumps(k)}: {json.dumps(v)},\n" for k, v in value.items())
                                                       + f"\"cases\": [\n{lines}\n]}}\n")
        print(f"{path.stem}: {len(seen)} cases, {sum('error' in row for row in rows)} refused")


main()
