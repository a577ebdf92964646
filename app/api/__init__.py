"""The HTTP interface. Does not know how a picture is generated."""
