"""HTTP below the application: the uvicorn protocol and server, heads, headers, URL origin, CORS."""
