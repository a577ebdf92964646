"""Pictures: decoding, encoding, metadata. The only package of app.core that imports Pillow."""
