"""The types on the wire: request bodies, responses, errors, OpenAPI."""
