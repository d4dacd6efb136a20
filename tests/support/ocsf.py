"""Validation by the published OCSF schema."""

from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from oktawatch.formats.ocsf import OCSF_VERSION


@cache
def validator(name: str, *profiles: str) -> Draft202012Validator:
    """Return the validator of a class."""
    schemas = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=OCSF_VERSION))
    return Draft202012Validator(schemas.get_class_schema(class_name=name, profiles=list(profiles)))


def validated(document: dict[str, Any]) -> dict[str, Any]:
    """Validate a document with the class and profiles that it names, and return it."""
    name = {2004: "detection_finding", 0: "base_event"}[document["class_uid"]]
    validator(name, *document["metadata"].get("profiles", ())).validate(document)
    assert document["metadata"]["version"] == OCSF_VERSION
    assert document["type_uid"] == document["class_uid"] * 100 + document["activity_id"]
    return document
