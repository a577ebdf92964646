"""The results: the JSON file, the targets and the chart."""
