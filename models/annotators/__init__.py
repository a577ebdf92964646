"""The detectors of control maps that are not controlnet_aux's: depth and people.

Each one follows models.controls.Detector. Knows neither where its files come from nor settings.
"""
