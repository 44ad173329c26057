"""The process and its connections.

What belongs here: uvicorn and its HTTP protocol, processes and signals, what surrounds every request (its id, limits,
counting, headers), and failures as `application/problem+json`. It may import every other room; only `app.main` and
`app.cli` import it.
"""
