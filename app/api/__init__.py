"""HTTP only: what goes over the wire, nothing of how a picture is made."""
