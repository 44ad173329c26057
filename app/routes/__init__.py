"""One file for each area of the API; a handler decodes a request, calls the domain and encodes the answer.

What belongs here: paths, query parameters, status codes and media types. It may import `wire`, the four domain rooms
(`inference`, `imaging`, `convolution`, `interpret`) and the ground floor, but never `server`.
"""
