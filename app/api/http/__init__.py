"""HTTP below the application: uvicorn's protocol, heads, headers, the origin of URLs."""
