"""Request bodies to values, and values to response bodies.

What belongs here: the forms a body can have (JSON, multipart, npy, an encoded picture), media types, and the schemas
of every request and answer. It may import `imaging` and the ground floor; it knows no route and no network.
"""
