"""Looks at every example of an OpenAPI document: it has to be what its schema says."""

import json
import sys

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

document = json.load(sys.stdin)
registry = Registry().with_resource("urn:api", Resource(contents=document, specification=DRAFT202012))
seen = 0


def at_home(value):
    """The same with references that lead into the document."""
    if isinstance(value, dict):
        is_reference = isinstance(value.get("$ref"), str)
        return {k: "urn:api" + v if k == "$ref" and is_reference else at_home(v) for k, v in value.items()}
    return [at_home(item) for item in value] if isinstance(value, list) else value


def examples(holder):
    if "example" in holder:
        yield holder["example"]
    for example in holder.get("examples", {}).values():
        yield example["value"]


def look(value, place):
    global seen
    if isinstance(value, dict):
        if "schema" in value:
            validator = Draft202012Validator(at_home(value["schema"]), registry=registry)
            for example in examples(value):
                seen += 1
                for error in validator.iter_errors(example):
                    sys.exit(f"{'/'.join(place)}: {error.message}")
        for name, inner in value.items():
            look(inner, [*place, name])
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            look(inner, [*place, str(number)])


look(document, [])
print(json.dumps(seen))
