"""Pictures as files and pixels. The only package of app.core that loads Pillow."""
