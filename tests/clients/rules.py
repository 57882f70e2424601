"""What openapi.yaml must keep to, so that generators make clients that work: each rule with what breaks without it.

    python3 tests/clients/rules.py

Prints each place that breaks one, and ends with 1 if there is any. Decision 0080 tells of them.
"""

import pathlib
import sys

import yaml

CONTRACT = pathlib.Path(__file__).resolve().parent.parent.parent / "openapi.yaml"
HARMLESS = {"$ref", "description"}
METHODS = {"get", "put", "post", "delete", "head"}


def schemas(node, at=""):
    """Every schema of the document, with its place."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name in ("example", "examples"):
                continue
            if name == "schema" and at.rsplit("/", 1)[-1] != "properties":
                yield from within(value, f"{at}/schema")
            elif at == "/components" and name == "schemas":
                for schema in value:
                    yield from within(value[schema], f"{at}/schemas/{schema}")
            else:
                yield from schemas(value, f"{at}/{name}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from schemas(value, f"{at}/{number}")


def within(schema, at):
    if not isinstance(schema, dict):
        return
    yield at, schema
    for name, value in schema.get("properties", {}).items():
        yield from within(value, f"{at}/properties/{name}")
    for name in ("items", "additionalProperties"):
        yield from within(schema.get(name), f"{at}/{name}")
    for name in ("oneOf", "anyOf", "allOf"):
        for number, value in enumerate(schema.get(name, [])):
            yield from within(value, f"{at}/{name}/{number}")


def kinds(schema):
    kind = schema.get("type", [])
    return [kind] if isinstance(kind, str) else kind


def faults(at, schema, asked):
    name = at.removeprefix("/components/schemas/")
    is_component, is_inner = name != at, "/" in name
    if "array" in kinds(schema) and "items" not in schema:
        yield "an array without `items`: openapi-python-client drops the whole type"
    if ("enum" in schema or "const" in schema) and "type" not in schema:
        yield "`enum` or `const` without `type`: Redoc shows any, Rust gets two layers of options"
    if {"integer", "number"} & set(kinds(schema)) and "format" not in schema:
        yield "a number without `format`: 32 bits in Java and Go"
    if "$ref" in schema and set(schema) - HARMLESS:
        yield "a `$ref` with more beside it than a description: openapi-generator makes an empty type"
    if is_component and "default" in schema:
        yield "a default: openapi-typescript makes the field required, Java sends it"
    if any(set(it) <= {"required", "properties", "not"} for it in [*schema.get("anyOf", []), *schema.get("oneOf", [])]):
        yield "branches that only require: openapi-generator makes a type of one field"
    for word in ("if", "dependentSchemas"):
        if word in schema:
            yield f"`{word}`: Redoc shows two cases"
    if is_inner and is_component and schema.get("properties"):
        yield "an object within another: give it a name of its own"
    if not is_component and schema.get("properties"):
        yield "an object in an operation: give it a name among the components"
    closed = schema.get("additionalProperties") is False
    if is_component and not is_inner and "properties" in schema and closed != (name in asked):
        yield "a request that is open" if name in asked else "an answer that is closed: a new field breaks pydantic"
    if schema.get("type") == "object" and not is_inner and not {"properties", "additionalProperties"} & set(schema) and is_component:
        yield "an object that says nothing of its members: `Record<string, never>` in TypeScript"


def reached(document, schema, found):
    if isinstance(schema, dict):
        _, is_schema, name = str(schema.get("$ref", "")).partition("#/components/schemas/")
        if is_schema and name not in found:
            found.add(name)
            reached(document, document["components"]["schemas"][name], found)
        for value in schema.values():
            reached(document, value, found)
    elif isinstance(schema, list):
        for value in schema:
            reached(document, value, found)


def parameters(document):
    yield from document["components"]["parameters"].items()
    for place, operation in operations(document):
        yield from ((place, it) for it in operation.get("parameters", []))


def operations(document):
    for path, item in document["paths"].items():
        yield from ((f"{method} {path}", it) for method, it in item.items() if method in METHODS)


def main():
    document = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))
    asked, wrong = set(), []
    for place, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {})
        reached(document, content, asked)
        if len(content) > 1:
            wrong.append((place, "more than one type of body: orval sends none"))
    for at, parameter in parameters(document):
        if "content" in parameter:
            wrong.append((at, "a parameter with `content`: of a list typescript-fetch makes `Array` of nothing"))
    for at, schema in schemas(document):
        wrong.extend((at, fault) for fault in faults(at, schema, asked))
    for at, fault in wrong:
        print(f"{at}: {fault}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
