"""Compares this server with the hosted API: records responses of one and replays them on the other.

Needs only the standard library and app.core.images, so it runs in the api image too. Measures
pictures only where Pillow, numpy and OpenCV are installed.
"""
