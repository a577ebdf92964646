"""Differential testing of app.core.images.decode: picture files of every kind, made by encoders
other than Pillow, are decoded by the server's decoder. The pixels are compared with those that were
encoded, or with another decoder's where the format is lossy.
"""
