"""The Python API of users' scripts: events, their properties, and what scripts may call.

It is loaded into bare processes, so it knows the standard library and nothing else of Millrace.
"""
