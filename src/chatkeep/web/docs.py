"""A documentation page made from an OpenAPI document: plain HTML, no script, nothing fetched from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
code,pre{font:14px/1.45 ui-monospace,monospace;background:#f4f5f7;border-radius:4px;padding:.1rem .3rem}
pre{padding:.6rem .8rem;overflow-x:auto}details{border-top:1px solid #dde1e6;padding:.5rem 0}
summary{cursor:pointer}b.method{display:inline-block;min-width:4.5rem;color:#0b57d0}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.25rem .6rem .25rem 0}
@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#16181b}code,pre{background:#24272c}
details{border-color:#33383f}b.method{color:#8ab4f8}}
"""
_METHODS = ("get", "post", "put", "patch", "delete")


def page(openapi: dict[str, Any], root_path: str) -> str:
    """The whole page for one dialect; `root_path` is where its application is mounted."""
    info = openapi["info"]
    operations = [
        _operation(openapi, root_path, path, method, item[method])
        for path, item in openapi["paths"].items()
        for method in _METHODS
        if method in item
    ]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style><h1>{escape(info['title'])}</h1>"
        f"<p>{escape(info.get('description', ''))}</p>"
        f"<p>Version {escape(info['version'])}. Machine-readable: "
        f"<a href='{escape(root_path)}/openapi.json'>openapi.json</a></p>{''.join(operations)}</html>"
    )


def _operation(
    openapi: dict[str, Any], root_path: str, path: str, method: str, operation: dict[str, Any]
) -> str:
    parts = [f"<p>{escape(operation.get('description', ''))}</p>"]
    if operation.get("parameters"):
        rows = "".join(_parameter(parameter) for parameter in operation["parameters"])
        parts.append(f"<table><tr><th>parameter<th>in<th>type<th>meaning</tr>{rows}</table>")
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body:
        parts.append(f"<p>Body</p>{_schema(openapi, body)}")
    for status, response in operation.get("responses", {}).items():
        schema = response.get("content", {}).get("application/json", {}).get("schema")
        parts.append(f"<p>{escape(status)} {escape(response.get('description', ''))}</p>")
        parts.append(_schema(openapi, schema) if schema and status.startswith("2") else "")
    heading = f"<b class=method>{method.upper()}</b> <code>{escape(root_path + path)}</code>"
    return f"<details><summary>{heading} {escape(operation.get('summary', ''))}</summary>{''.join(parts)}</details>"


def _parameter(parameter: dict[str, Any]) -> str:
    name = f"<code>{escape(parameter['name'])}</code>{' *' if parameter.get('required') else ''}"
    kind = _kind(parameter.get("schema", {}))
    return f"<tr><td>{name}<td>{parameter['in']}<td>{escape(kind)}<td>{escape(parameter.get('description', ''))}</tr>"


def _schema(openapi: dict[str, Any], schema: dict[str, Any]) -> str:
    found = openapi
    if "$ref" in schema:
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    fields = schema.get("properties")
    if not fields:
        return f"<p><code>{escape(_kind(schema))}</code></p>"
    required = set(schema.get("required", ()))
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code>{' *' if name in required else ''}<td>{escape(_kind(field))}"
        f"<td>{escape(field.get('description', ''))}</tr>"
        for name, field in fields.items()
    )
    return f"<table>{rows}</table>"


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema or "oneOf" in schema:
        return " | ".join(_kind(each) for each in schema.get("anyOf", schema.get("oneOf", [])))
    if "enum" in schema:
        return " | ".join(repr(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"{_kind(schema.get('items', {}))}[]"
    return str(schema.get("type", "any"))
