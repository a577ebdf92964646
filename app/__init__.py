"""The server: everything that is not mathematics. torch is never imported below this package."""

VERSION = "0.1.0"
