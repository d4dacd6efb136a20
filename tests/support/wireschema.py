"""The published schema of a System Log event, as a JSON Schema validator."""

from typing import Any

import jsonschema
import yaml

from tests.support.shared import shared_data


def log_event_validator() -> jsonschema.Draft202012Validator:
    """Return a validator of `LogEvent`."""
    contract = yaml.safe_load(shared_data("okta_logs_openapi_wire.yaml").read_text("utf-8"))
    schemas = {name: translate(schema) for name, schema in contract["components"]["schemas"].items()}
    root = {"$ref": "#/components/schemas/LogEvent", "components": {"schemas": schemas}}
    return jsonschema.Draft202012Validator(
        root, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )


def translate(schema: Any) -> Any:
    """Translate an OpenAPI 3.0 schema to JSON Schema, which has no `nullable`: null becomes an alternative."""
    if isinstance(schema, list):
        return [translate(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    translated = {key: translate(part) for key, part in schema.items() if key not in {"nullable", "example"}}
    return {"anyOf": [{"type": "null"}, translated]} if schema.get("nullable") is True else translated
